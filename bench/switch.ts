/**
 * npm run bench switch: from a generation on one model to one on another, two SD 1.5 of full size (a folder and a single file,
 * random F16 weights), at 256×256 with guidance: its cost is the weights'. 3 minutes on 2 cores, 30 GB of disk.
 */
import { weightBytes, writeFullSize } from "./checkpoint.ts";
import { Engine, whole } from "./engine.ts";
import { modelsFolder, temporaryFolder } from "./folders.ts";
import { chill, warm } from "./page-cache.ts";
import { duration, gb, printTable } from "./table.ts";

const DISK = 30e9;
const SIDE = 256;
const [A, B] = ["base", "single"] as const;

/** Another prompt each time: one that is remembered needs no text encoder. */
let asked = 0;
async function generate(engine: Engine, model: string) {
  const made = await engine.generate({ model, side: SIDE, num_inference_steps: 1, prompt: `house ${asked++}` });
  const memory = [gb(engine.memory("RssAnon")), gb(engine.memory("RssFile"))];
  return { ...whole(made), loadSeconds: made.loadSeconds, memory };
}
type Switched = Awaited<ReturnType<typeof generate>>;

export async function run(): Promise<void> {
  const models = await modelsFolder("sd15", DISK, writeFullSize);
  const cache = temporaryFolder("cache");
  const weights = weightBytes(models, A);
  const [one, both] = [1.2 * weights, 2.4 * weights];
  const switches: Record<string, Switched> = {};
  {
    await using engine = await Engine.start(models, cache, one);
    await generate(engine, A);
    switches["A to B, prepared for the first time"] = await generate(engine, B);
  }
  {
    await using engine = await Engine.start(models, cache, one);
    await generate(engine, A);
    switches.none = await generate(engine, A);
    chill(cache); // but for A, which is loaded
    switches["A to B, prepared, from the disk"] = await generate(engine, B);
    warm(cache);
    switches["B to A, prepared, from the page cache"] = await generate(engine, A);
    switches["A to B, the same"] = await generate(engine, B);
  }
  {
    await using engine = await Engine.start(models, cache, both);
    await generate(engine, A);
    await generate(engine, B);
    switches["B to A, both within the budget"] = await generate(engine, A);
  }
  const none = switches.none.seconds;
  console.log(
    `\nMEMORY_BUDGET ${gb(one)} and, where both are within it, ${gb(both)}; a model is ${gb(weights)} as float32.`,
  );
  printTable(
    ["switch", "load", "whole generation", "÷ none", "read from the disk", "private memory after it", "mapped files"],
    Object.entries(switches).map(([what, { loadSeconds, seconds: taken, readBytes, memory }]) => {
      const times = (taken / none).toFixed(2);
      return [what, duration(loadSeconds), duration(taken), times, gb(readBytes), ...memory];
    }),
  );
}
