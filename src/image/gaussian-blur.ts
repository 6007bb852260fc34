/**
 * `cv2.GaussianBlur(picture, (0, 0), sigma)`: on bytes to the byte, on float32 but for the rounding of its additions.
 * Source: opencv/opencv `modules/imgproc/src/smooth.dispatch.cpp` (`getGaussianKernelBitExact`, `GaussianBlur`).
 */
import type { Pixels } from "./pixels.ts";
import { reflect } from "./reflect.ts";
import { roundHalfEven } from "./rounding.ts";

function gaussian(taps: number, sigma: number): Float64Array {
  const weights = Float64Array.from({ length: taps }, (_, i) =>
    Math.exp(-((i - (taps - 1) / 2) ** 2) / (2 * sigma ** 2)),
  );
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => weight / sum);
}

/** From the middle outwards, whole numbers: both halves sum to 256, as what rounding leaves of a tap is carried to the next. */
function byteKernel(sigma: number): Float64Array {
  const exact = gaussian(roundHalfEven(6 * sigma + 1) | 1, sigma);
  const radius = (exact.length - 1) / 2;
  const half = new Float64Array(radius + 1);
  let [carried, sum] = [0, 0];
  for (let i = 0; i < radius; i++) {
    const wanted = exact[i]! * 256 + carried;
    const weight = roundHalfEven(wanted);
    carried = wanted - weight;
    half[radius - i] = weight;
    sum += 2 * weight;
  }
  half[0] = 256 - sum;
  return half;
}

/** From the middle outwards, float32. */
function floatKernel(sigma: number): Float64Array {
  const exact = gaussian(roundHalfEven(8 * sigma + 1) | 1, sigma);
  return exact.slice((exact.length - 1) / 2).map(Math.fround);
}

/**
 * Goes down a picture's rows, blurred along x, with those near at hand: `down` gets the row `k` rows below row y, above where k < 0.
 * @param row makes room for a row
 * @param across fills it with row y, blurred along x
 */
function goDown<Row>(
  radius: number,
  height: number,
  row: () => Row,
  across: (y: number, row: Row) => void,
  down: (y: number, near: (k: number) => Row) => void,
): void {
  // Rows that are still needed: each is overwritten when it is the farthest above.
  const kept = Array.from({ length: Math.min(2 * radius + 1, height) }, row);
  for (let y = 0, made = 0; y < height; y++) {
    for (; made < height && made <= y + radius; made++) across(made, kept[made % kept.length]!);
    down(y, (k) => kept[reflect(y + k, height) % kept.length]!);
  }
}

// Several sums fit into the 53 bits of one number: along x three of 16 bits, the channels of a pixel; then along y two of 24.
const [BLUE, GREEN, SECOND] = [2 ** 32, 2 ** 16, 2 ** 26];

/** @param sigma 0.01 … 64 pixels */
export function gaussianBlur({ width, height, data }: Pixels, sigma: number): Pixels {
  const half = byteKernel(sigma);
  const radius = half.length - 1;
  const source = Int32Array.from({ length: width + 2 * radius }, (_, x) => reflect(x - radius, width) * 3);
  const padded = new Float64Array(source.length);
  const beside = placesOn(padded, radius, 1);
  const packed = new Float64Array(width);
  const values = new Float64Array(width * 3 + 1);
  const pairs = Math.ceil((width * 3) / 2);
  const sums = new Float64Array(pairs);
  const out = new Uint8Array(data.length);
  const across = (y: number, row: Float64Array) => {
    const start = y * width * 3;
    for (let x = 0; x < source.length; x++) {
      const i = start + source[x]!;
      padded[x] = data[i]! + data[i + 1]! * GREEN + data[i + 2]! * BLUE;
    }
    addKernel(packed, half, beside);
    for (let x = 0, i = 0; x < width; x++) {
      const blue = Math.floor(packed[x]! / BLUE);
      const rest = (packed[x]! - blue * BLUE) >>> 0;
      values[i++] = rest & 0xffff;
      values[i++] = rest >>> 16;
      values[i++] = blue;
    }
    for (let i = 0; i < pairs; i++) row[i] = values[2 * i]! + values[2 * i + 1]! * SECOND;
  };
  goDown(
    radius,
    height,
    () => new Float64Array(pairs),
    across,
    (y, near) => {
      addKernel(sums, half, near);
      const end = (y + 1) * width * 3;
      for (let i = 0, o = y * width * 3; i < pairs; i++) {
        const second = Math.floor(sums[i]! / SECOND);
        out[o++] = (sums[i]! - second * SECOND + 0x8000) >> 16;
        if (o < end) out[o++] = (second + 0x8000) >> 16;
      }
    },
  );
  return { width, height, data: out };
}

/** What lies `k` pixels on, in a row that goes on for `radius` pixels on either side. @param step how many numbers are a pixel */
function placesOn(padded: Float64Array, radius: number, step: number): (k: number) => Float64Array {
  const places = Array.from({ length: 2 * radius + 1 }, (_, tap) => padded.subarray(tap * step));
  return (k) => places[radius + k]!;
}

/** Two numbers, one before and one behind, that weigh the same. */
type Pair = readonly [before: Float64Array, behind: Float64Array, weight: number];

/** Sets `sums` to the numbers weighted by the kernel; `at` gives those `k` places on, before where k < 0. */
function addKernel(sums: Float64Array, half: Float64Array, at: (k: number) => Float64Array): void {
  setTo(sums, half[0]!, at(0));
  const pairs: Pair[] = [];
  for (let k = 1; k < half.length; k++) if (half[k] !== 0) pairs.push([at(-k), at(k), half[k]!]);
  const nothing: Pair = [at(0), at(0), 0];
  // Several pairs at once: the sums are read and written less often.
  let p = 0;
  for (; p + 2 < pairs.length; p += 4) addFour(sums, pairs[p]!, pairs[p + 1]!, pairs[p + 2]!, pairs[p + 3] ?? nothing);
  if (p < pairs.length) addTwo(sums, pairs[p]!, pairs[p + 1] ?? nothing);
}

function setTo(sums: Float64Array, weight: number, a: Float64Array): void {
  for (let i = 0; i < sums.length; i++) sums[i] = weight * a[i]!;
}

function addTwo(sums: Float64Array, [a, b, near]: Pair, [c, d, far]: Pair): void {
  const { length } = sums;
  for (let i = 0; i < length; i++) sums[i] = sums[i]! + near * (a[i]! + b[i]!) + far * (c[i]! + d[i]!);
}

function addFour(sums: Float64Array, [a, b, p]: Pair, [c, d, q]: Pair, [e, f, r]: Pair, [g, h, s]: Pair): void {
  const { length } = sums;
  for (let i = 0; i < length; i++) {
    const inner = p * (a[i]! + b[i]!) + q * (c[i]! + d[i]!);
    sums[i] = sums[i]! + inner + (r * (e[i]! + f[i]!) + s * (g[i]! + h[i]!));
  }
}

/**
 * The blurred picture as float32, row after row: `row` gets the numbers of row y, `channels` a pixel, and must keep none of them.
 * Each is rounded once, from a sum of doubles; OpenCV rounds every addition, in an order that depends on the processor: 6e-5 apart.
 * @param channels how many numbers of `data` are a pixel
 */
export function blurFloat(
  { width, height, data }: { width: number; height: number; data: ArrayLike<number> },
  channels: number,
  sigma: number,
  row: (y: number, values: Float32Array) => void,
): void {
  const half = floatKernel(sigma);
  const radius = half.length - 1;
  const length = width * channels;
  const source = Int32Array.from({ length: length + 2 * radius * channels }, (_, i) => {
    const x = Math.floor(i / channels) - radius;
    return reflect(x, width) * channels + (i % channels);
  });
  const padded = new Float64Array(source.length);
  const beside = placesOn(padded, radius, channels);
  const sums = new Float64Array(length);
  const values = new Float32Array(length);
  const across = (y: number, row: Float64Array) => {
    fill(padded, data, y * length, source);
    addKernel(row, half, beside);
  };
  goDown(
    radius,
    height,
    () => new Float64Array(length),
    across,
    (y, near) => {
      addKernel(sums, half, near);
      values.set(sums);
      row(y, values);
    },
  );
}

function fill(padded: Float64Array, data: ArrayLike<number>, start: number, source: Int32Array): void {
  for (let i = 0; i < source.length; i++) padded[i] = data[start + source[i]!]!;
}
