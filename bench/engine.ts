/**
 * One process with an engine thread, as in a worker: carries out a generation for each line of standard input (the ids of
 * its ControlNets, as JSON) and prints what it took. Arguments: MODELS_DIR and the cache's folder.
 */
import { createInterface } from "node:readline";
import { Worker } from "node:worker_threads";
import { encode } from "../src/image/encode.ts";
import { GenerationRequest } from "../src/schema.ts";
import { imageHash } from "../src/storage.ts";
import type { EngineSettings, FromEngine, ToEngine } from "../workers/messages.ts";

export interface Timing {
  readonly loadSeconds: number;
  /** Each evaluation's, without the first, which touches its memory for the first time. */
  readonly stepSeconds: readonly number[];
  readonly decodeSeconds: number;
}

const SIDE = 512;
const EVALUATIONS = 4;

const [modelsDir, cacheDir] = process.argv.slice(2) as [string, string];
const settings: EngineSettings = { modelsDir, cacheDir, executionProvider: "cpu" };
const engine = new Worker(new URL("../workers/engine.ts", import.meta.url), { workerData: settings });
const messages: AsyncIterator<FromEngine> = on(engine);

const stripes = Uint8Array.from({ length: 3 * SIDE * SIDE }, (_, i) => (i % 48 < 24 ? 0 : 255));
const image = await encode({ width: SIDE, height: SIDE, data: stripes }, "png");

async function* on(worker: Worker): AsyncGenerator<FromEngine> {
  const waiting: FromEngine[] = [];
  let wake = () => {};
  worker.on("message", (message: FromEngine) => {
    waiting.push(message);
    wake();
  });
  worker.on("error", (error) => {
    throw error;
  });
  while (true) {
    while (waiting.length > 0) {
      yield waiting.shift()!;
    }
    await new Promise<void>((resolve) => (wake = resolve));
  }
}

async function generate(controlnets: readonly string[]): Promise<Timing> {
  const hash = imageHash(image);
  const request = GenerationRequest.parse({
    model: "base",
    prompt: "a house",
    width: SIDE,
    height: SIDE,
    num_inference_steps: EVALUATIONS,
    scheduler: "ddim",
    seed: 1,
    controls: controlnets.map((controlnet) => ({ controlnet, image: hash, mask: null })),
    image: null,
    mask_image: null,
    strength: null,
  });
  engine.postMessage({
    type: "generate",
    id: "bench",
    request,
    state: null,
    images: { [hash]: image },
  } satisfies ToEngine);
  const times: number[] = [];
  while (true) {
    const { value: message } = await messages.next();
    if (message.type === "progress") {
      times.push(performance.now());
    } else if (message.type === "done") {
      const { load_ms, decode_ms } = message.metrics;
      const stepSeconds = times.slice(1).map((time, i) => (time - times[i]!) / 1000);
      return { loadSeconds: load_ms! / 1000, stepSeconds, decodeSeconds: decode_ms! / 1000 };
    } else if (message.type === "failed") {
      throw new Error(message.message);
    } else if (message.type === "warning") {
      console.error(message.message);
    }
  }
}

await messages.next(); // the catalog
console.log("ready");
for await (const line of createInterface(process.stdin)) {
  console.log(JSON.stringify(await generate(JSON.parse(line))));
}
process.exit();
