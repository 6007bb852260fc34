import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type AnnotatorInputOf, annotate } from "../src/image/annotators.ts";
import { gaussianBlur } from "../src/image/gaussian-blur.ts";
import { resizeLinear } from "../src/image/opencv-resize.ts";
import type { Pixels } from "../src/image/pixels.ts";
import { ANNOTATORS, type AnnotatorName } from "../src/schema/annotators.ts";
import { temporaryFolder } from "./folders.ts";
import { printTable } from "./table.ts";

const SIDES = [512, 2048];
const REPEATS = { 512: 20, 2048: 7 } as Record<number, number>;
/** Those that read a picture, with the parameters that bench/annotators.py has too where they are not the defaults. */
const MEASURED = Object.entries(ANNOTATORS).flatMap(([name, { input }]) =>
  input === "picture" || input === "depth" ? [name as Exclude<AnnotatorName, "inpaint" | "openpose_render">] : [],
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

/** The least of the processor's time, which other programs on the machine change little. */
function milliseconds(name: (typeof MEASURED)[number], pixels: Pixels, repeats: number): number {
  const params = ANNOTATORS[name].params.parse(PARAMS[name] ?? {});
  const run = () => annotate(name as "canny", pixels as AnnotatorInputOf<"canny">, params as never);
  run();
  run();
  return Math.min(
    ...Array.from({ length: repeats }, () => {
      const start = process.cpuUsage();
      run();
      const { user, system } = process.cpuUsage(start);
      return (user + system) / 1000;
    }),
  );
}

/** OpenCV's times by the Python that OPENCV_PYTHON names. */
function ofOpencv(pixels: Pixels, repeats: number): Record<string, number> {
  const python = process.env.OPENCV_PYTHON;
  if (python === undefined) return {};
  const file = join(temporaryFolder("annotators"), "picture");
  writeFileSync(file, pixels.data);
  const script = join(import.meta.dirname, "annotators.py");
  return JSON.parse(execFileSync(python, [script, file, String(repeats)], { encoding: "utf8" }));
}

export async function run(): Promise<void> {
  const bySide = SIDES.map((side) => {
    const pixels = picture(side);
    const repeats = REPEATS[side]!;
    return { pixels, repeats, opencv: ofOpencv(pixels, repeats) };
  });
  printTable(
    ["annotator", ...SIDES.flatMap((side) => [`${side}²`, "OpenCV, one thread", "ratio"])],
    MEASURED.map((name) => [
      name,
      ...bySide.flatMap(({ pixels, repeats, opencv }) => {
        const own = milliseconds(name, pixels, repeats);
        const other = opencv[name];
        const ms = (value: number) => `${value.toFixed(1)} ms`;
        return other === undefined ? [ms(own), "-", "-"] : [ms(own), ms(other), (own / other).toFixed(1)];
      }),
    ]),
  );
  if (process.env.OPENCV_PYTHON === undefined) console.log("\nOPENCV_PYTHON names a Python that has OpenCV.");
}
