import { type ChildProcess, spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { type AnnotatorInputOf, annotate } from "../src/image/annotators.ts";
import { gaussianBlur } from "../src/image/gaussian-blur.ts";
import { resizeLinear } from "../src/image/opencv-resize.ts";
import type { Pixels } from "../src/image/pixels.ts";
import { ANNOTATORS, type AnnotatorName } from "../src/schema/annotators.ts";
import { temporaryFolder } from "./folders.ts";
import { median, printTable } from "./table.ts";

const SIDES = [512, 2048];
/** Runs of a round, by side. */
const REPEATS = { 512: 3, 2048: 1 } as Record<number, number>;
const ROUNDS = 10;
/** Rounds before those that count, on both sides: where the service makes maps it has long compiled the loops of the last. */
const WARM_ROUNDS = 2;
/** Those that read a picture, with the parameters that bench/annotators.py has too where they are not the defaults. */
const MEASURED = Object.entries(ANNOTATORS).flatMap(([name, { input }]) =>
  (input === "picture" || input === "depth") && name !== "none"
    ? [name as Exclude<AnnotatorName, "inpaint" | "openpose_render" | "none">]
    : [],
);
const PARAMS: Partial<Record<AnnotatorName, object>> = { tile: { down_sampling_rate: 2.5 } };

/** Soft blobs of all colours with fine grain, which give every annotator something to do. */
function picture(side: number): Pixels {
  let state = 1;
  const noise = (width: number): Pixels => {
    const data = new Uint8Array(width * width * 3).map(() => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return state >>> 24;
    });
    return { width, height: width, data };
  };
  const blobs = resizeLinear(noise(Math.ceil(side / 24)), side, side);
  const grain = gaussianBlur(noise(side), 0.8);
  return { ...blobs, data: blobs.data.map((value, i) => (value * 7 + grain.data[i]!) >> 3) };
}

/**
 * The processor's time of each of a few runs, which other programs on the machine change little, after one that does not count. As in the service
 * nobody else needs the picture.
 */
function milliseconds(name: (typeof MEASURED)[number], pixels: Pixels, repeats: number): number[] {
  const params = ANNOTATORS[name].params.parse(PARAMS[name] ?? {});
  const given = { ...pixels, data: pixels.data.slice() };
  const run = () => annotate(name as "canny", given as AnnotatorInputOf<"canny">, params as never, true);
  run();
  return Array.from({ length: repeats }, () => {
    given.data.set(pixels.data); // the last map may lie over it
    const start = process.cpuUsage();
    run();
    const { user, system } = process.cpuUsage(start);
    return (user + system) / 1000;
  });
}

/** Asks the Python that OPENCV_PYTHON names for OpenCV's times, one annotator after the other. */
class Opencv {
  readonly #process: ChildProcess;
  readonly #answers: AsyncIterator<string>;

  constructor(python: string, { data }: Pixels, repeats: number) {
    const file = join(temporaryFolder("annotators"), "picture");
    writeFileSync(file, data);
    const script = join(import.meta.dirname, "annotators.py");
    this.#process = spawn(python, [script, file, String(repeats)], { stdio: ["pipe", "pipe", "inherit"] });
    this.#answers = createInterface(this.#process.stdout!)[Symbol.asyncIterator]();
  }

  async milliseconds(name: string): Promise<number[]> {
    this.#process.stdin!.write(`${name}\n`);
    const { value, done } = await this.#answers.next();
    if (done) throw new Error(`bench/annotators.py ended at ${name}`);
    return JSON.parse(value);
  }

  close(): void {
    this.#process.stdin!.end();
  }
}

/** A side's columns by annotator. Both are measured in turns, so that a machine that is slower for a while is slower for both. */
async function columns(side: number): Promise<Map<string, string[]>> {
  const [pixels, repeats, python] = [picture(side), REPEATS[side]!, process.env.OPENCV_PYTHON];
  const opencv = python === undefined ? null : new Opencv(python, pixels, repeats);
  const found = new Map<string, string[]>();
  for (const name of MEASURED) {
    const [own, other]: [number[], number[]] = [[], []];
    for (let round = 0; round < WARM_ROUNDS + ROUNDS; round++) {
      own.push(...milliseconds(name, pixels, repeats));
      if (opencv !== null) other.push(...(await opencv.milliseconds(name)));
    }
    const [mine, theirs] = [own, other].map((times) => median(times.slice(WARM_ROUNDS * repeats))) as [number, number];
    found.set(name, opencv === null ? [ms(mine), "-", "-"] : [ms(mine), ms(theirs), (mine / theirs).toFixed(1)]);
  }
  opencv?.close();
  return found;
}

const ms = (value: number) => `${value.toFixed(value < 1 ? 3 : 1)} ms`;

export async function run(): Promise<void> {
  const bySide: Map<string, string[]>[] = [];
  for (const side of SIDES) bySide.push(await columns(side));
  printTable(
    ["annotator", ...SIDES.flatMap((side) => [`${side}²`, "OpenCV, one thread", "ratio"])],
    MEASURED.map((name) => [name, ...bySide.flatMap((found) => found.get(name)!)]),
  );
  if (process.env.OPENCV_PYTHON === undefined) console.log("\nOPENCV_PYTHON names a Python that has OpenCV.");
}
