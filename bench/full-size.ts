/**
 * npm run bench full-size: SD 1.5 of full size with random F16 weights, as a folder with two ControlNets and as a single file,
 * through the real engine at 512×512 with guidance. TORCH_PYTHON names a Python with torch and diffusers, which is then
 * measured in the same hour. 15 minutes on 2 cores, 45 GB of disk.
 */
import { join } from "node:path";
import { fill } from "../src/diffusion/rows.ts";
import { build } from "../src/onnx/build.ts";
import { conv, matmul } from "../src/onnx/operators.ts";
import { constant, input, type Value } from "../src/onnx/value.ts";
import { CPU, openSession } from "../workers/runtime/runtime.ts";
import { CONTROLNETS, weightBytes, writeFullSize } from "./checkpoint.ts";
import { Engine, type Made, whole } from "./engine.ts";
import { modelsFolder, temporaryFolder } from "./folders.ts";
import { tellOperators } from "./operators.ts";
import { warm } from "./page-cache.ts";
import { diffusers } from "./reference.ts";
import { duration, gb, median, printTable } from "./table.ts";

/** Multiplications and additions of one row at 512×512. */
const GMAC = { unet: 401.6, controlnet: 134.3 };
const SIDE = 512;
const SMALLEST = 64;
const ROUNDS = 3;
const DISK = 45e9;

const halves = (...dims: number[]) => constant("float32", dims, fill(dims, 0.5).data as Float32Array);

/** Single operators with constant weights, of sizes that the U-Net has many of: dimensions of x, y, and multiplications in y. */
const OPERATORS = {
  "matrix product": {
    dims: [8192, 1280],
    of: (x: Value) => matmul(x, halves(1280, 1280)),
    multiplications: 8192 * 1280 * 1280,
  },
  convolution: {
    dims: [2, 320, 64, 64],
    of: (x: Value) => conv(x, halves(320, 320, 3, 3), halves(320)),
    multiplications: 2 * 64 * 64 * 320 * 320 * 9,
  },
};

/** What a single operator makes at most, in GFLOP/s. */
async function operatorSpeed({ dims, of, multiplications }: (typeof OPERATORS)["convolution"]): Promise<number> {
  const x = input("x", "float32", dims);
  const session = await openSession({ bytes: build([x], { y: of(x) }), folder: "." }, CPU);
  const feeds = { x: fill(dims, 0.5) };
  const times: number[] = [];
  for (let i = 0; i < 8; i++) {
    const start = performance.now();
    await session.run(feeds);
    times.push((performance.now() - start) / 1000);
  }
  await session.release();
  return (2 * multiplications) / Math.min(...times) / 1e9;
}

/** A load in each of its forms. @param last has the folder loaded from the cache when this ends */
async function loads(models: string, cache: string, last: Engine): Promise<void> {
  const lines: string[][] = [];
  const pictures = new Map<string, string>();
  const load = async (engine: Engine, model: string, how: string, controlnets: readonly string[] = []) => {
    const file = model === "base" ? "base" : `${model}.safetensors`;
    const paths = [join(models, file), ...controlnets.map((id) => join(models, "controlnets", id))];
    const bytes = paths.map(warm).reduce((a, b) => a + b);
    const wanted = {
      model,
      side: SIDE,
      num_inference_steps: 1,
      controls: controlnets.map((controlnet) => ({ controlnet })),
    };
    const made = await engine.generate(wanted);
    const { loadSeconds, sha256 } = made;
    const peak = whole(made).peakBytes;
    const what = [model === "base" ? "folder" : "single file", ...controlnets.map(() => "ControlNet")].join(", ");
    const [perGb, share] = [(loadSeconds / bytes) * 1e9, peak / weightBytes(models, model, controlnets)];
    lines.push([`${what}: ${how}`, gb(bytes), duration(loadSeconds), perGb.toFixed(2), gb(peak), share.toFixed(2)]);
    pictures.set(what, sha256);
  };
  const alone = async (folder: string, model: string, how: string, controlnets?: readonly string[]) => {
    await using engine = await Engine.start(models, folder);
    await load(engine, model, how, controlnets);
  };
  const [first, again] = ["for the first time", "from the cache"];
  await alone(temporaryFolder("cache"), "base", first);
  await alone(cache, "base", first, CONTROLNETS);
  await alone(cache, "single", first);
  warm(cache);
  await alone(cache, "single", again);
  await load(last, "base", again);
  printTable(["load", "files", "time", "s/GB of file", "peak private memory", "÷ float32 weights"], lines);
  const same = pictures.get("folder") === pictures.get("single file");
  console.log(`\nFolder and single file make ${same ? "the same picture, to the byte" : "DIFFERENT pictures"}.`);
}

/** Generations with 0, 1 and 2 ControlNets, one of each a round, so that a machine that changes changes for all. */
async function steps(engine: Engine): Promise<Made[][]> {
  const made: Made[][] = [[], [], []];
  for (let round = 0; round < ROUNDS; round++) {
    for (const [count, own] of made.entries()) {
      const controls = CONTROLNETS.slice(0, count).map((controlnet) => ({ controlnet }));
      own.push(await engine.generate({ model: "base", side: SIDE, num_inference_steps: 4, controls }));
    }
  }
  return made;
}

const range = (values: readonly number[]) => `${Math.min(...values).toFixed(2)}–${Math.max(...values).toFixed(2)} s`;

async function tellSteps(made: readonly (readonly Made[])[]): Promise<void> {
  const speeds: [string, number][] = [];
  for (const [name, operator] of Object.entries(OPERATORS)) {
    speeds.push([name, await operatorSpeed(operator)]);
  }
  const best = Math.max(...speeds.map(([, speed]) => speed));
  const reference = diffusers();
  // Without the first evaluation, which loads and touches its memory for the first time.
  const rounds = made.map((own) =>
    own.map(({ evaluations }) => median(evaluations.slice(1).map((stage) => stage.seconds))),
  );
  const medians = rounds.map(median);
  const lines = medians.map((step, count) => {
    const flops = (2 * 2 * (GMAC.unet + count * GMAC.controlnet)) / step;
    return [
      `step, ${count} ControlNets`,
      duration(step),
      range(rounds[count]!),
      duration(reference.steps[count]!),
      (step / reference.steps[count]!).toFixed(2),
      (step / medians[0]!).toFixed(2),
      flops.toFixed(0),
      `${((100 * flops) / best).toFixed(0)} %`,
      gb(Math.max(...made[count]!.flatMap(({ evaluations }) => evaluations.map(({ peakBytes }) => peakBytes)))),
    ];
  });
  const decodes = made.flat().map(({ decodeSeconds }) => decodeSeconds);
  const decode = median(decodes);
  const times = (decode / reference.decode).toFixed(2);
  const decodePeak = gb(Math.max(...made.flat().map(({ decoding }) => decoding.peakBytes)));
  lines.push([
    "VAE decode",
    duration(decode),
    range(decodes),
    duration(reference.decode),
    times,
    "",
    "",
    "",
    decodePeak,
  ]);
  const beside = [`diffusers (${reference.from})`, "÷ diffusers"];
  printTable(
    [
      `${SIDE}×${SIDE}, guidance`,
      "median",
      `of ${ROUNDS} rounds`,
      ...beside,
      "÷ no ControlNet",
      "GFLOP/s",
      "÷ the faster operator's",
      "peak private memory",
    ],
    lines,
  );
  console.log(`\nA single ${speeds.map(([name, speed]) => `${name}: ${speed.toFixed(0)} GFLOP/s`).join("; a ")}.`);
}

/**
 * Beside one that has the model loaded. After the smallest generation what is private is what loading takes; after one of
 * full size, activations are in it too.
 */
async function secondWorker(models: string, cache: string): Promise<void> {
  const weights = weightBytes(models, "base");
  await using engine = await Engine.start(models, cache);
  const line = (when: string) => {
    const bytes = engine.memory("RssAnon");
    return [when, gb(bytes), (bytes / weights).toFixed(2), gb(engine.memory("RssFile"))];
  };
  const lines = [line("before its first generation")];
  for (const side of [SMALLEST, SIDE]) {
    await engine.generate({ model: "base", side, num_inference_steps: 1 });
    lines.push(line(`after one at ${side}×${side}`));
  }
  printTable(
    ["a second worker on the same weights", "private memory", "÷ float32 weights", "mapped files (shared)"],
    lines,
  );
}

/** The models' engine ends before anything else is measured: torch wants the memory. */
async function measure(models: string, cache: string): Promise<Made[][]> {
  await using engine = await Engine.start(models, cache);
  await loads(models, cache, engine);
  await secondWorker(models, cache);
  return await steps(engine);
}

export async function run(): Promise<void> {
  const models = await modelsFolder("sd15", DISK, writeFullSize);
  await tellSteps(await measure(models, temporaryFolder("cache")));
  await tellOperators(models, CONTROLNETS[0]!, SIDE);
}
