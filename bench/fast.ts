/**
 * npm run bench fast: the quick ways to a picture at SD 1.5's full size (random F16 weights), one ControlNet, 512×512, seconds a
 * picture beside exact and beside diffusers' float32 on the same cores. TORCH_PYTHON as in full-size. 10 minutes on 2 cores.
 */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { CONTROLNETS, writeFullSize } from "./checkpoint.ts";
import { Engine, type Wanted } from "./engine.ts";
import { modelsFolder, temporaryFolder } from "./folders.ts";
import { diffusers } from "./reference.ts";
import { duration, gb, printTable } from "./table.ts";

const DISK = 20e9;
const STEPS = 20;

const plain: Wanted = {
  model: "base",
  side: 512,
  num_inference_steps: STEPS,
  guidance_scale: 7.5,
  controls: [{ controlnet: CONTROLNETS[0]! }],
};
const cache = { method: "deepcache", interval: 3, branch: 0 } as const;

const WAYS: Readonly<Record<string, Wanted>> = {
  exact: plain,
  "cache, interval 3, branch 0": { ...plain, cache },
  "control_interval 2": { ...plain, control_interval: 2 },
  "cache, interval 3, and control_interval 2": { ...plain, cache, control_interval: 2 },
  "4 steps without guidance": { ...plain, num_inference_steps: 4, guidance_scale: 1 },
};
const INT8_WAYS: Readonly<Record<string, Wanted>> = {
  int8: plain,
  "int8 and cache, interval 3": { ...plain, cache },
  "int8, 4 steps without guidance": { ...plain, num_inference_steps: 4, guidance_scale: 1 },
};

const bytesIn = (folder: string): number =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .map((name) => statSync(join(folder, name)))
    .reduce((sum, entry) => sum + (entry.isFile() ? entry.size : 0), 0);

/** A worker of one precision that finds its networks in the cache; what that took is told. */
async function prepared(models: string, precision: "float32" | "int8", told: string[][]): Promise<Engine> {
  const cache = temporaryFolder(`cache-${precision}`);
  const start = () => Engine.start(models, cache, undefined, true, precision);
  const first = await start();
  const preparing = await first.generate({ ...plain, side: 64, num_inference_steps: 1 });
  await first[Symbol.asyncDispose]();
  const engine = await start();
  const { loadSeconds } = await engine.generate({ ...plain, side: 64, num_inference_steps: 1 });
  const bytes = bytesIn(cache);
  const memory = gb(engine.memory("RssAnon") + engine.memory("RssFile"));
  const perGb = (1e9 * loadSeconds) / bytes;
  told.push([precision, duration(preparing.loadSeconds), gb(bytes), duration(loadSeconds), perGb.toFixed(2), memory]);
  return engine;
}

export async function run(): Promise<void> {
  const models = await modelsFolder("full-size", DISK, writeFullSize);
  const reference = diffusers();
  const whole = STEPS * reference.steps[1]! + reference.decode;
  console.log(`diffusers, float32, ${reference.from}: ${duration(whole)} a picture`);
  const rows: string[][] = [];
  const loads: string[][] = [];
  let exact = 0;
  for (const [precision, ways] of [["float32", WAYS] as const, ["int8", INT8_WAYS] as const]) {
    await using engine = await prepared(models, precision, loads);
    for (const [way, wanted] of Object.entries(ways)) {
      await engine.generate({ ...wanted, num_inference_steps: 4 }); // loads the networks
      const { denoiseSeconds, decodeSeconds } = await engine.generate(wanted);
      const seconds = denoiseSeconds + decodeSeconds;
      exact ||= seconds;
      const ratios = [seconds / exact, seconds / whole].map((ratio) => ratio.toFixed(2));
      rows.push([way, duration(denoiseSeconds), duration(decodeSeconds), duration(seconds), ...ratios]);
    }
  }
  printTable(["precision", "prepared in", "in the cache", "loaded from it in", "s/GB", "memory"], loads);
  printTable(["way", "denoising", "decoding", "a picture", "of exact", "of diffusers"], rows);
}
