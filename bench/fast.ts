/**
 * npm run bench fast: the quick ways to a picture at SD 1.5's full size (random F16 weights), one ControlNet, 512×512, seconds a
 * picture beside exact and beside 20 steps of diffusers on the same cores, where TORCH_PYTHON names a Python that has it.
 * 15 minutes on 2 cores, 5 more with diffusers. SHORT=1 tries the bench itself, on tiny networks.
 */
import { cpSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { TINY_MODELS } from "../test/support/service.ts";
import { CONTROLNETS, writeSd15, writeTinyDecoder } from "./checkpoint.ts";
import { Engine, type Wanted } from "./engine.ts";
import { modelsFolder, temporaryFolder } from "./folders.ts";
import { diffusersNow } from "./reference.ts";
import { duration, gb, printTable } from "./table.ts";

const SHORT = process.env.SHORT !== undefined;
const DISK = SHORT ? 1e9 : 20e9;
const STEPS = 20;
const SMALLEST = 64;
const CONTROLNET = SHORT ? "canny" : CONTROLNETS[0]!;

const plain: Wanted = {
  model: "base",
  side: SHORT ? SMALLEST : 512,
  num_inference_steps: STEPS,
  guidance_scale: 7.5,
  controls: [{ controlnet: CONTROLNET }],
};
const cache = { method: "deepcache", interval: 3, branch: 0 } as const;
const cached = { ...plain, cache };
const fewSteps = { ...plain, num_inference_steps: 4, guidance_scale: 1 };
const tiny = { ...fewSteps, decoder: "tiny" } as const;

const WAYS: Readonly<Record<string, Wanted>> = {
  exact: plain,
  "cache, interval 3, branch 0": cached,
  "control_interval 2": { ...plain, control_interval: 2 },
  "cache, interval 3, and control_interval 2": { ...cached, control_interval: 2 },
  "4 steps without guidance": fewSteps,
  "4 steps without guidance, tiny decoder": tiny,
};
const INT8_WAYS: Readonly<Record<string, Wanted>> = {
  int8: plain,
  "int8 and cache, interval 3": cached,
  "int8, 4 steps without guidance": fewSteps,
  "int8, 4 steps without guidance, tiny decoder": tiny,
  "all together: int8, cache, control_interval 2, 4 steps without guidance, tiny decoder": {
    ...tiny,
    cache,
    control_interval: 2,
  },
};

/** SD 1.5, one ControlNet, and a tiny decoder. */
async function writeModels(folder: string): Promise<void> {
  const parts = ["base", "controlnets"];
  if (SHORT) for (const part of parts) cpSync(join(TINY_MODELS, part), join(folder, part), { recursive: true });
  else await writeSd15(folder, [CONTROLNET]);
  await writeTinyDecoder(folder);
}

const bytesIn = (folder: string): number =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .map((name) => statSync(join(folder, name)))
    .reduce((sum, entry) => sum + (entry.isFile() ? entry.size : 0), 0);

/** A worker of one precision that finds its networks in the cache; what that took is told. */
async function prepared(models: string, precision: "float32" | "int8", told: string[][]): Promise<Engine> {
  const cache = temporaryFolder(`cache-${precision}`);
  const start = () => Engine.start(models, cache, undefined, true, precision);
  const first = await start();
  const preparing = await first.generate({ ...plain, side: SMALLEST, num_inference_steps: 1 });
  await first[Symbol.asyncDispose]();
  const engine = await start();
  const { loadSeconds } = await engine.generate({ ...plain, side: SMALLEST, num_inference_steps: 1 });
  const bytes = bytesIn(cache);
  const memory = gb(engine.memory("RssAnon") + engine.memory("RssFile"));
  const perGb = (1e9 * loadSeconds) / bytes;
  told.push([precision, duration(preparing.loadSeconds), gb(bytes), duration(loadSeconds), perGb.toFixed(2), memory]);
  return engine;
}

/** Seconds of 20 steps with one ControlNet and of the decode, by diffusers' precision; none where nothing has it. */
function reference(): { precision: string; seconds: number }[] {
  const found = (["float32", "bfloat16"] as const).flatMap((precision) => {
    const one = SHORT ? null : diffusersNow(precision);
    return one === null ? [] : [{ precision, seconds: STEPS * one.steps[1]! + one.decode }];
  });
  const told = found.map(({ precision, seconds }) => `${precision} ${duration(seconds)} a picture`);
  console.log(`diffusers, in this run: ${told.join(", ") || "not measured, TORCH_PYTHON names a Python that has it"}`);
  return found;
}

export async function run(): Promise<void> {
  const models = await modelsFolder(SHORT ? "fast-short" : "fast", DISK, writeModels);
  const beside = reference();
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
      const ratios = [exact, ...beside.map((one) => one.seconds)].map((whole) => (seconds / whole).toFixed(3));
      rows.push([way, duration(denoiseSeconds), duration(decodeSeconds), duration(seconds), ...ratios]);
    }
  }
  const columns = beside.map(({ precision }) => `of diffusers, ${precision}`);
  printTable(["precision", "prepared in", "in the cache", "loaded from it in", "s/GB", "memory"], loads);
  printTable(["way", "denoising", "decoding", "a picture", "of exact", ...columns], rows);
}
