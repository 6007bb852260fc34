/**
 * `cv2.resize` on 8-bit RGB, to the byte: what annotators were made with, which is not what Pillow computes (resize.ts). Only
 * INTER_CUBIC may differ by 1 where OpenCV is built with Intel's IPP. Source: opencv/opencv `modules/imgproc/src/resize.cpp`.
 */
import { covered, scaleOf } from "./covered.ts";
import type { Pixels } from "./pixels.ts";
import { roundHalfEven } from "./rounding.ts";

/** Along one axis: output i is the sum of inputs index[taps·i + t] times weight[taps·i + t]; weights sum to 2048. */
interface Taps {
  readonly taps: number;
  readonly index: Int32Array;
  readonly weight: Int32Array;
}

const ONE = 2048;
const f = Math.fround;

function table(
  inSize: number,
  outSize: number,
  taps: number,
  at: (i: number) => readonly [first: number, weights: readonly number[]],
): Taps {
  const index = new Int32Array(taps * outSize);
  const weight = new Int32Array(taps * outSize);
  for (let i = 0; i < outSize; i++) {
    const [first, weights] = at(i);
    for (let t = 0; t < taps; t++) {
      index[taps * i + t] = Math.min(Math.max(first + t, 0), inSize - 1);
      weight[taps * i + t] = roundHalfEven(f(weights[t]! * ONE));
    }
  }
  return { taps, index, weight };
}

/** The input left of output i, and how far beyond it, in float32. */
function place(inSize: number, outSize: number, i: number): [floor: number, fraction: number] {
  const x = f((i + 0.5) * scaleOf(inSize, outSize) - 0.5);
  return [Math.floor(x), f(x - Math.floor(x))];
}

/** As INTER_AREA places them where one axis is enlarged: no input is mixed with the next but at its end. */
function areaPlace(inSize: number, outSize: number, i: number): [floor: number, fraction: number] {
  const floor = Math.floor(i * scaleOf(inSize, outSize));
  const x = f(i + 1 - (floor + 1) * (outSize / inSize));
  return [floor, x <= 0 ? 0 : f(x - Math.floor(x))];
}

/** Sums along those rows that are asked for, as whole numbers: [H, width, 3]. */
function across({ width, height, data }: Pixels, { taps, index, weight }: Taps, rows: Int32Array): Int32Array {
  const outWidth = index.length / taps;
  const out = new Int32Array(height * outWidth * 3);
  for (const y of new Set(rows)) {
    for (let x = 0, o = y * outWidth * 3; x < outWidth; x++, o += 3) {
      let [red, green, blue] = [0, 0, 0];
      for (let k = taps * x; k < taps * (x + 1); k++) {
        const i = (y * width + index[k]!) * 3;
        const times = weight[k]!;
        red += data[i]! * times;
        green += data[i + 1]! * times;
        blue += data[i + 2]! * times;
      }
      out[o] = red;
      out[o + 1] = green;
      out[o + 2] = blue;
    }
  }
  return out;
}

const byte = (value: number) => Math.min(Math.max(value, 0), 255);

function linearAs(placed: typeof place, pixels: Pixels, width: number, height: number): Pixels {
  if (width === pixels.width && height === pixels.height) return pixels;
  const columns = table(pixels.width, width, 2, (i) => {
    const [floor, x] = placed(pixels.width, width, i);
    if (floor < 0) return [0, [1, 0]];
    return floor >= pixels.width - 1 ? [pixels.width - 1, [1, 0]] : [floor, [f(1 - x), x]];
  });
  const rows = table(pixels.height, height, 2, (i) => {
    const [floor, y] = placed(pixels.height, height, i);
    return [floor, [f(1 - y), y]];
  });
  const sums = across(pixels, columns, rows.index);
  const out = new Uint8Array(width * height * 3);
  for (let y = 0, o = 0; y < height; y++) {
    const [upper, lower] = [rows.index[2 * y]! * width * 3, rows.index[2 * y + 1]! * width * 3];
    const [a, b] = [rows.weight[2 * y]!, rows.weight[2 * y + 1]!];
    for (let x = 0; x < width * 3; x++, o++) {
      out[o] = byte((((a * (sums[upper + x]! >> 4)) >> 16) + ((b * (sums[lower + x]! >> 4)) >> 16) + 2) >> 2);
    }
  }
  return { width, height, data: out };
}

/** INTER_LINEAR. */
export const resizeLinear = (pixels: Pixels, width: number, height: number) => linearAs(place, pixels, width, height);

/** INTER_CUBIC and INTER_LANCZOS4: the kernel's weights for a fraction, `before` of them left of the floor. */
const convolved =
  (weights: (fraction: number) => readonly number[], taps: number, before: number) =>
  (pixels: Pixels, width: number, height: number): Pixels => {
    if (width === pixels.width && height === pixels.height) return pixels;
    const axis = (inSize: number, outSize: number) =>
      table(inSize, outSize, taps, (i) => {
        const [floor, fraction] = place(inSize, outSize, i);
        return [floor - before, weights(fraction)];
      });
    const { index, weight } = axis(pixels.height, height);
    const sums = across(pixels, axis(pixels.width, width), index);
    const out = new Uint8Array(width * height * 3);
    for (let y = 0, o = 0; y < height; y++) {
      for (let x = 0; x < width * 3; x++, o++) {
        let sum = 1 << 21;
        for (let k = taps * y; k < taps * (y + 1); k++) sum += sums[index[k]! * width * 3 + x]! * weight[k]!;
        out[o] = byte(sum >> 22);
      }
    }
    return { width, height, data: out };
  };

function cubic(x: number): number[] {
  const A = -0.75;
  const outer = (d: number) => ((A * d - 5 * A) * d + 8 * A) * d - 4 * A;
  const inner = (d: number) => ((A + 2) * d - (A + 3)) * d * d + 1;
  const [a, b, c] = [f(outer(x + 1)), f(inner(x)), f(inner(1 - x))];
  return [a, b, c, f(1 - a - b - c)];
}
export const resizeCubic = convolved(cubic, 4, 1);

const HALF = Math.SQRT1_2;
/** What the taps' angles, an eighth of a turn apart, do to the first one's sine and cosine. */
const TURNS = [1, 0, -HALF, -HALF, 0, 1, HALF, -HALF, -1, 0, HALF, HALF, 0, -1, -HALF, HALF];

function lanczos4(x: number): number[] {
  if (Math.abs(x) < 2 ** -23) return [0, 0, 0, 1, 0, 0, 0, 0];
  const start = -f(x + 3) * Math.PI * 0.25;
  const [sin, cos] = [Math.sin(start), Math.cos(start)];
  const values = Array.from({ length: 8 }, (_, i) => {
    const y = -f(f(x + 3) - i) * Math.PI * 0.25;
    return Math.abs(y) < 1e-6 ? f(1e30) : f((TURNS[2 * i]! * sin + TURNS[2 * i + 1]! * cos) / (y * y));
  });
  const total = f(1 / values.reduce((sum, value) => f(sum + value), 0));
  return values.map((value) => f(value * total));
}
export const resizeLanczos4 = convolved(lanczos4, 8, 3);

/** INTER_AREA: the mean of what an output covers. Where an axis is enlarged, it is a linear interpolation of its own. */
export function resizeArea(pixels: Pixels, width: number, height: number): Pixels {
  if (width === pixels.width && height === pixels.height) return pixels;
  if (width > pixels.width || height > pixels.height) return linearAs(areaPlace, pixels, width, height);
  const [across, down] = [pixels.width / width, pixels.height / height];
  return Number.isInteger(across) && Number.isInteger(down)
    ? blocks(pixels, width, height, across, down)
    : covered(pixels, width, height);
}

/** The mean of whole blocks. */
function blocks({ width: stride, data }: Pixels, width: number, height: number, across: number, down: number): Pixels {
  const out = new Uint8Array(width * height * 3);
  const share = f(1 / (across * down));
  const isQuarter = across === 2 && down === 2;
  for (let y = 0, o = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let c = 0; c < 3; c++, o++) {
        let sum = 0;
        for (let v = y * down; v < (y + 1) * down; v++)
          for (let u = x * across; u < (x + 1) * across; u++) sum += data[(v * stride + u) * 3 + c]!;
        out[o] = isQuarter ? (sum + 2) >> 2 : roundHalfEven(f(sum * share));
      }
    }
  }
  return { width, height, data: out };
}

/** A picture whose shorter side is about `resolution`, both sides multiples of 64 (controlnet_aux and ControlNet `resize_image`). */
export function resizeImage(pixels: Pixels, resolution: number): Pixels {
  const { width, height } = imageSize(pixels, resolution);
  return (resolution > Math.min(pixels.width, pixels.height) ? resizeLanczos4 : resizeArea)(pixels, width, height);
}

/** The size that {@link resizeImage} gives a picture. */
export function imageSize({ width, height }: Pick<Pixels, "width" | "height">, resolution: number) {
  const scale = resolution / Math.min(width, height);
  const side = (size: number) => Math.max(roundHalfEven((size * scale) / 64), 1) * 64;
  return { width: side(width), height: side(height) };
}
