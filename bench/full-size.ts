/**
 * npm run bench full-size: a Stable Diffusion 1.5 of full size with random F16 weights and two ControlNets, through the real
 * engine at 512×512 with guidance. TORCH_PYTHON names a Python with torch and diffusers, which is then measured in the same
 * hour; FULL_SIZE_DIR a folder to keep the checkpoints in, which are otherwise made in a temporary one and removed.
 */
import { type ChildProcessByStdio, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
} from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { openBase, openControlNet } from "../src/models/base.ts";
import { build } from "../src/onnx/build.ts";
import { matmul } from "../src/onnx/operators.ts";
import { constant, input } from "../src/onnx/value.ts";
import { CPU, openSession } from "../workers/runtime.ts";
import { writeFullSize } from "./checkpoint.ts";
import type { Timing } from "./engine.ts";

const CONTROLNETS = ["a", "b"];
/** diffusers 0.40, torch 2.13, float32, on 2 cores of Zen 5: seconds a step with 0, 1 and 2 ControlNets, and the decode. */
const RECORDED = { steps: [7.3, 10.2, 13.0], decode: 10.1 };
/** Multiplications and additions of one row at 512×512. */
const GMAC = { unet: 401.6, controlnet: 134.3 };
const SAMPLING_MS = 50;

const median = (values: readonly number[]) => [...values].sort((a, b) => a - b)[values.length >> 1]!;
const gb = (bytes: number) => `${(bytes / 1e9).toFixed(2)} GB`;
const seconds = (value: number) => `${value.toFixed(2)} s`;
const row = (...columns: readonly string[]) => console.log(`| ${columns.join(" | ")} |`);

/** A process with an engine; its private memory is watched from here. */
class Engine {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: AsyncIterator<string>;
  readonly #watch: NodeJS.Timeout;
  peakBytes = 0;

  constructor(modelsDir: string, cacheDir: string) {
    const script = join(import.meta.dirname, "engine.ts");
    this.#child = spawn(process.execPath, [script, modelsDir, cacheDir], { stdio: ["pipe", "pipe", "inherit"] });
    this.#lines = createInterface(this.#child.stdout)[Symbol.asyncIterator]();
    this.#watch = setInterval(() => (this.peakBytes = Math.max(this.peakBytes, this.privateBytes)), SAMPLING_MS);
  }

  /** RssAnon: what the process does not share with others through the page cache. */
  get privateBytes(): number {
    const status = readFileSync(`/proc/${this.#child.pid}/status`, "utf8");
    return 1024 * Number(/RssAnon:\s+(\d+) kB/.exec(status)?.[1] ?? 0);
  }

  async ready(): Promise<void> {
    await this.#read();
  }

  async generate(controlnets: readonly string[]): Promise<Timing> {
    this.#child.stdin.write(`${JSON.stringify(controlnets)}\n`);
    return JSON.parse(await this.#read());
  }

  async #read(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done) {
      throw new Error("the engine's process has ended");
    }
    return value;
  }

  async stop(): Promise<void> {
    clearInterval(this.#watch);
    this.#child.stdin.end();
    await once(this.#child, "exit");
  }
}

/** The best of a single operator: GFLOP/s of a large matrix product with constant weights. */
async function bestOperator(): Promise<number> {
  const [rows, inner, columns] = [8192, 1280, 1280];
  const weight = constant("float32", [inner, columns], new Float32Array(inner * columns).fill(0.5));
  const x = input("x", "float32", [rows, inner]);
  const session = await openSession({ bytes: build([x], { y: matmul(x, weight) }), folder: "." }, CPU);
  const feeds = { x: { dims: [rows, inner], data: new Float32Array(rows * inner).fill(0.5) } };
  const times: number[] = [];
  for (let i = 0; i < 8; i++) {
    const start = performance.now();
    await session.run(feeds);
    times.push((performance.now() - start) / 1000);
  }
  await session.release();
  return (2 * rows * inner * columns) / Math.min(...times) / 1e9;
}

/** Bytes of all files under a folder; reading them brings them into the page cache. */
function read(folder: string): number {
  const chunk = Buffer.alloc(1 << 24);
  let bytes = 0;
  for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
    const path = join(folder, name);
    if (!statSync(path).isFile()) continue;
    const file = openSync(path, "r");
    for (let count = 1; count > 0; bytes += count) {
      count = readSync(file, chunk);
    }
    closeSync(file);
  }
  return bytes;
}

function diffusers(): { steps: number[]; decode: number; from: string } {
  const python = process.env.TORCH_PYTHON;
  if (python === undefined) {
    return { ...RECORDED, from: "recorded on another machine" };
  }
  const printed = execFileSync(python, [join(import.meta.dirname, "reference.py")], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  return { ...JSON.parse(printed.trim().split("\n").at(-1)!), from: "beside" };
}

/** What a generation loads, as float32. */
function weightBytes(models: string): number {
  const { text_encoder, unet, vae_decoder } = openBase(join(models, "base")).networks as Record<
    string,
    { weightBytes: number }
  >;
  return [text_encoder, unet, vae_decoder].reduce((sum, network) => sum + (network?.weightBytes ?? 0), 0);
}
const controlBytes = (models: string, id: string) =>
  Object.values(openControlNet(join(models, "controlnets", id)).networks).reduce(
    (sum, one) => sum + one.weightBytes,
    0,
  );

async function measure(models: string, cache: string): Promise<void> {
  const fileBytes = read(join(models, "base"));
  const weights = weightBytes(models);
  console.log(`\n${cpus().length} × ${cpus()[0]?.model}, ${new Date().toISOString().slice(0, 10)}\n`);

  row("load", "files", "seconds", "s/GB of file", "peak private memory", "÷ float32 weights");
  row("---", "---", "---", "---", "---", "---");
  const load = async (name: string, controlnets: readonly string[]) => {
    const engine = new Engine(models, cache);
    await engine.ready();
    const timing = await engine.generate(controlnets);
    const all = [fileBytes, ...controlnets.map((id) => read(join(models, "controlnets", id)))].reduce((a, b) => a + b);
    const loaded = [weights, ...controlnets.map((id) => controlBytes(models, id))].reduce((a, b) => a + b);
    const perGb = (timing.loadSeconds / all) * 1e9;
    const share = (engine.peakBytes / loaded).toFixed(2);
    row(name, gb(all), seconds(timing.loadSeconds), perGb.toFixed(2), gb(engine.peakBytes), share);
    return engine;
  };
  await (await load("base and 2 ControlNets, prepared for the first time", CONTROLNETS)).stop();
  read(cache);
  const engine = await load("base, from the cache", []);

  const timings: Timing[] = [];
  for (const count of [0, 1, 2]) {
    timings.push(await engine.generate(CONTROLNETS.slice(0, count)));
  }
  const second = new Engine(models, cache);
  await second.ready();
  const before = second.privateBytes;
  await second.generate([]);
  const after = second.privateBytes;
  await second.stop();
  await engine.stop();

  const best = await bestOperator();
  const reference = diffusers();
  console.log();
  row(
    "512×512, guidance",
    "seconds",
    `diffusers (${reference.from})`,
    "÷ diffusers",
    "÷ no ControlNet",
    "GFLOP/s",
    "of one operator",
  );
  row("---", "---", "---", "---", "---", "---", "---");
  const steps = timings.map(({ stepSeconds }) => median(stepSeconds));
  for (const [count, step] of steps.entries()) {
    const flops = (2 * 2 * (GMAC.unet + count * GMAC.controlnet)) / step;
    row(
      `step, ${count} ControlNets`,
      seconds(step),
      seconds(reference.steps[count]!),
      (step / reference.steps[count]!).toFixed(2),
      (step / steps[0]!).toFixed(2),
      flops.toFixed(0),
      `${((100 * flops) / best).toFixed(0)} % of ${best.toFixed(0)}`,
    );
  }
  const decode = median(timings.map(({ decodeSeconds }) => decodeSeconds));
  row("VAE decode", seconds(decode), seconds(reference.decode), (decode / reference.decode).toFixed(2), "", "", "");

  console.log();
  row("a second worker on the same weights", "private memory", "÷ float32 weights");
  row("---", "---", "---");
  row("before its first generation", gb(before), (before / weights).toFixed(2));
  row("after it", gb(after), (after / weights).toFixed(2));
}

export async function run(): Promise<void> {
  const kept = process.env.FULL_SIZE_DIR;
  const models = kept ?? mkdtempSync(join(tmpdir(), "full-size-"));
  const cache = mkdtempSync(join(tmpdir(), "full-size-cache-"));
  const remove = () => {
    for (const folder of kept === undefined ? [models, cache] : [cache]) {
      rmSync(folder, { recursive: true, force: true });
    }
  };
  process.once("exit", remove);
  process.once("SIGINT", () => process.exit(130));
  if (!existsSync(join(models, "base"))) {
    await writeFullSize(models, CONTROLNETS);
  }
  await measure(models, cache);
  remove();
}
