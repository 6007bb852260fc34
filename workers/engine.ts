/**
 * The engine thread of a generation worker: it holds the networks and steps generations. A session's run blocks the thread
 * that it is on, so nothing else lives here; between two evaluations the thread hears whether to go on.
 */
import { setImmediate } from "node:timers/promises";
import { parentPort, workerData } from "node:worker_threads";
import type { LoadedControlNet, LoadedModel, Run } from "../src/diffusion/model.ts";
import { decode, type Hints, prepare, start, step, vaeScale } from "../src/diffusion/pipeline.ts";
import { loadTokenizer } from "../src/diffusion/tokenizer.ts";
import { decode as decodeImage } from "../src/image/decode.ts";
import { encode } from "../src/image/encode.ts";
import { hint, toPixels } from "../src/image/hint.ts";
import { resize } from "../src/image/resize.ts";
import type { BaseModel, ControlNet, Network } from "../src/models/base.ts";
import { CONTENT_TYPES, type GenerationRequest } from "../src/schema.ts";
import { openLibrary } from "./library.ts";
import type { EngineSettings, FromEngine, MadeImage, ToEngine } from "./messages.ts";
import { Residents } from "./residents.ts";
import { chooseProvider } from "./runtime.ts";

const port = parentPort!;
const { modelsDir, executionProvider, maxImagePixels } = workerData as EngineSettings;
const send = (message: FromEngine) => port.postMessage(message);

const provider = await chooseProvider(executionProvider);
const residents = new Residents(provider);
const library = openLibrary(modelsDir);
/** The generation under way, and whether it is to stop. */
let running: { readonly id: string; canceled: boolean } | null = null;

function runners<Names extends string>(networks: Record<Names, Network>): Record<Names, Run> {
  const entries = Object.entries<Network>(networks).map(([name, network]) => [name, residents.runner(network)]);
  return Object.fromEntries(entries) as Record<Names, Run>;
}

const loadModel = (model: BaseModel): LoadedModel => ({
  ...model,
  scheduler: model.scheduler as Record<string, unknown>,
  tokenizer: loadTokenizer(model.tokenizerFolder),
  run: runners(model.networks),
});

const loadControlNet = (id: string, { config, networks }: ControlNet): LoadedControlNet => ({
  id,
  config,
  run: runners(networks),
});

/** @throws Error naming what this worker does not have */
function find<T>(kind: string, entries: ReadonlyMap<string, T>, id: string): T {
  const entry = entries.get(id);
  if (entry === undefined) {
    throw new Error(`this worker has no ${kind} "${id}"`);
  }
  return entry;
}

/** A request's control images at the picture's size, one list a ControlNet. */
async function readHints(request: GenerationRequest, images: Record<string, Uint8Array>): Promise<Hints[]> {
  const { width, height } = request;
  const read = async (hash: string) => {
    const pixels = resize(await decodeImage(images[hash]!, { maxPixels: maxImagePixels }), width, height);
    return { dims: [1, 3, height, width], data: hint(pixels) };
  };
  return Promise.all(request.controls.map(({ image }) => Promise.all([image].flat().map(read))));
}

async function generate({ id, request, images }: Extract<ToEngine, { type: "generate" }>): Promise<FromEngine> {
  residents.beginGeneration();
  const job = { id, canceled: false };
  running = job;
  const model = loadModel(find("model", library.models, request.model));
  const controlnets = request.controls.map(({ controlnet }) =>
    loadControlNet(controlnet, find("ControlNet", library.controlnets, controlnet)),
  );

  const clock = stopwatch();
  const plan = await prepare(request, model, controlnets, await readHints(request, images));
  const encodeMs = clock();

  let state = start(plan);
  const { total } = plan.sampler;
  while (state.step < total) {
    await setImmediate(); // lets a cancel in
    if (job.canceled) {
      return { type: "canceled", id };
    }
    state = await step(plan, state);
    send({ type: "progress", id, step: state.step, total });
  }
  const denoiseMs = clock();

  const made: MadeImage[] = [];
  const [width, height] = [plan.latentDims[2] * vaeScale(model), plan.latentDims[1] * vaeScale(model)];
  for (const [i, picture] of state.pictures.entries()) {
    const bytes = await encode(toPixels(await decode(plan, picture), width, height), request.output_format);
    const content_type = CONTENT_TYPES[request.output_format];
    made.push({ bytes, seed: request.seed + i, width, height, content_type });
  }
  const metrics = {
    load_ms: residents.loadMs,
    encode_ms: encodeMs,
    denoise_ms: denoiseMs,
    decode_ms: clock(),
    steps_per_second: (1000 * total) / denoiseMs,
  };
  return { type: "done", id, images: made, warnings: [...plan.warnings], metrics };
}

/** Milliseconds since the last call that were not spent on loading networks. */
function stopwatch(): () => number {
  const working = () => performance.now() - residents.loadMs;
  let last = working();
  return () => {
    const now = working();
    const elapsed = now - last;
    last = now;
    return elapsed;
  };
}

async function handle(message: ToEngine): Promise<void> {
  if (message.type === "cancel") {
    if (running?.id === message.id) {
      running.canceled = true;
    }
    return;
  }
  try {
    send(await generate(message));
  } catch (error) {
    send({ type: "failed", id: message.id, code: "generation_failed", message: (error as Error).message });
  }
}

port.on("message", handle);
send({ type: "catalog", catalog: { ...library.catalog, execution_provider: provider.name } });
