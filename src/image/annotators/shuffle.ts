import { MersenneTwister } from "../../random/mersenne-twister.ts";
import type { Pixels } from "../pixels.ts";

const f = Math.fround;
/** 1.5 · 2⁵²: what is added to it loses its fraction, half to even. */
const WHOLE = 6_755_399_441_055_744;

/**
 * The picture's colours at other places: each pixel is read where two smooth random surfaces say (controlnet_aux
 * `ContentShuffleDetector`; `cv2.remap` of OpenCV 5). The surfaces are NumPy's after `numpy.random.seed(seed)`.
 * @param patch pixels between two of the random numbers that a surface goes through: f upstream
 * @param seed 0 … 2³² - 1
 */
export function shuffle(pixels: Pixels, patch: number, seed: number): Pixels {
  const { width, height } = pixels;
  const words = new MersenneTwister(seed);
  const across = surface(words, width, height, patch);
  const down = surface(words, width, height, patch);
  const [xs, ys] = [new Float64Array(width), new Float64Array(width)];
  const data = new Uint8Array(width * height * 3);
  for (let y = 0, o = 0; y < height; y++) {
    across.row(y, xs);
    down.row(y, ys);
    for (let x = 0; x < width; x++, o += 3) {
      const atX = f(((xs[x]! - across.least) / across.range) * (width - 1));
      const atY = f(((ys[x]! - down.least) / down.range) * (height - 1));
      sample(pixels, atX, atY, data, o);
    }
  }
  return { width, height, data };
}

/** A number for each pixel, made row by row; the least and the largest are `range` apart. */
interface Surface {
  row(y: number, into: Float64Array): void;
  readonly least: number;
  readonly range: number;
}

/** A random number, 0 … 1, every `patch` pixels, and cubic between them. */
function surface(words: MersenneTwister, width: number, height: number, patch: number): Surface {
  const [columns, rows] = [Math.floor(width / patch) + 2, Math.floor(height / patch) + 2];
  const noise = Float64Array.from({ length: rows * columns }, () => uniform(words));
  const [xs, ys] = [cubicTaps(columns, width, patch), cubicTaps(rows, height, patch)];
  const stretched = new Float64Array(rows * width);
  for (let row = 0, o = 0; row < rows; row++)
    for (let x = 0; x < width; x++, o++)
      for (let t = 0; t < 4; t++) stretched[o]! += noise[row * columns + xs.index[4 * x + t]!]! * xs.weight[4 * x + t]!;

  const row = (y: number, into: Float64Array) => {
    const [a, b, c, d] = [0, 1, 2, 3].map((t) => stretched.subarray(ys.index[4 * y + t]! * width)) as Rows;
    mix(into, a, b, c, d, ys.weight.subarray(4 * y, 4 * y + 4));
  };
  const values = new Float64Array(width);
  let [least, most] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (let y = 0; y < height; y++) {
    row(y, values);
    const [rowLeast, rowMost] = extent(values);
    least = Math.min(least, rowLeast);
    most = Math.max(most, rowMost);
  }
  return { row, least, range: most > least ? most - least : 1 };
}

type Rows = [Float64Array, Float64Array, Float64Array, Float64Array];

function mix(row: Float64Array, ...[a, b, c, d, weights]: [...Rows, Float32Array]): void {
  const [wa, wb, wc, wd] = [weights[0]!, weights[1]!, weights[2]!, weights[3]!];
  for (let x = 0; x < row.length; x++) row[x] = a[x]! * wa + b[x]! * wb + c[x]! * wc + d[x]! * wd;
}

function extent(row: Float64Array): [least: number, most: number] {
  let [least, most] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (let x = 0; x < row.length; x++) {
    if (row[x]! < least) least = row[x]!;
    if (row[x]! > most) most = row[x]!;
  }
  return [least, most];
}

/** NumPy's `random_sample`: 53 bits, 0 … 1. */
function uniform(words: MersenneTwister): number {
  const high = words.word() >>> 5;
  return (high * 2 ** 26 + (words.word() >>> 6)) / 2 ** 53;
}

/** Where `count` numbers stretched to `length` pixels and `patch` more at each end are read for the pixels between these ends. */
function cubicTaps(count: number, length: number, patch: number): { index: Int32Array; weight: Float32Array } {
  const index = new Int32Array(4 * length);
  const weight = new Float32Array(4 * length);
  const scale = count / (length + 2 * patch);
  for (let i = 0; i < length; i++) {
    const place = f((i + patch + 0.5) * scale - 0.5);
    const first = Math.floor(place);
    weight.set(cubicWeights(f(place - first)), 4 * i);
    for (let t = 0; t < 4; t++) index[4 * i + t] = Math.min(Math.max(first + t - 1, 0), count - 1);
  }
  return { index, weight };
}

/** Keys' kernel with a = -0.75, in float32 as OpenCV computes it. */
function cubicWeights(x: number): [number, number, number, number] {
  const inner = (d: number) => f(f(f(f(f(1.25 * d) - 2.25) * d) * d) + 1);
  const before = f(x + 1);
  const outer = f(f(f(f(f(f(-0.75 * before) + 3.75) * before) - 6) * before) + 3);
  const [a, b] = [inner(x), inner(f(1 - x))];
  return [outer, a, b, f(f(f(1 - outer) - a) - b)];
}

/** Writes the colour between four pixels; places lie within the picture. */
function sample({ width, height, data }: Pixels, x: number, y: number, out: Uint8Array, o: number): void {
  const [left, top] = [Math.floor(x), Math.floor(y)];
  const [dx, dy] = [f(x - left), f(y - top)];
  const i = (top * width + left) * 3;
  const right = left < width - 1 ? 3 : 0;
  const below = i + (top < height - 1 ? width * 3 : 0);
  for (let c = 0; c < 3; c++) {
    const first = between(data[i + c]!, data[i + right + c]!, dx);
    const second = between(data[below + c]!, data[below + right + c]!, dx);
    out[o + c] = between(first, second, dy) + WHOLE - WHOLE;
  }
}

const between = (a: number, b: number, share: number) => f(a + f(share * f(b - a)));
