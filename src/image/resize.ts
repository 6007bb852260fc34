import type { Pixels } from "./pixels.ts";

/** A rectangle in pixels of the resized picture. */
export interface Window {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** One axis of the filter: output i is the sum of `taps[i]` inputs from `first[i]` on, weighted by `weights` from `offset[i]` on. */
interface Axis {
  readonly first: Int32Array;
  readonly taps: Int32Array;
  readonly offset: Int32Array;
  readonly weights: Int32Array;
}

// Weights are fixed-point numbers with this many bits behind the point: 32 less 8 for the pixel and 2 for overshoot.
const PRECISION_BITS = 32 - 8 - 2;
const ROUND = 1 << (PRECISION_BITS - 1);

interface Filter {
  /** Beyond this distance from the output's centre, in inputs or, when reducing, in outputs, an input has no weight. */
  readonly support: number;
  /** The weight at a distance within the support. */
  readonly weight: (x: number) => number;
}

/** Pillow's filters by their names there, in small letters. */
const filters = {
  bilinear: { support: 1, weight: (x) => 1 - Math.abs(x) },
  bicubic: { support: 2, weight: (x) => cubic(Math.abs(x)) },
  lanczos: { support: 3, weight: (x) => sinc(x) * sinc(x / 3) },
} satisfies Record<string, Filter>;

export type ResizeFilter = keyof typeof filters;

interface ResizeOptions {
  readonly filter?: ResizeFilter;
  /** The rectangle of the result to return: no more is computed than it needs. */
  readonly window?: Window;
}

/**
 * Resizes to `width` × `height` (1 or more) as Pillow's `Image.resize((width, height), filter)` does on 8-bit RGB, to the byte.
 * The result may share the memory of `pixels`.
 * Source: python-pillow/Pillow, `libImaging/Resample.c` (`precompute_coeffs`, `normalize_coeffs_8bpc`,
 * `ImagingResampleHorizontal_8bpc`, `ImagingResampleVertical_8bpc`) and `Image.resize`.
 */
export function resize(
  pixels: Pixels,
  width: number,
  height: number,
  { filter: name = "lanczos", window = { x: 0, y: 0, width, height } }: ResizeOptions = {},
): Pixels {
  const filter = filters[name];
  const columns = (image: Pixels) =>
    image.width === width
      ? cut(image, { ...window, y: 0, height: image.height })
      : horizontal(image, axis(filter, image.width, width, window.x, window.width));
  if (pixels.height === height) return columns(cut(pixels, { ...window, x: 0, width: pixels.width }));
  const axisY = axis(filter, pixels.height, height, window.y, window.height);
  // Pillow shrinks a picture over 100 times as high as wide in the other order, which saves memory and rounds differently.
  if (pixels.height > pixels.width * 100 && height < pixels.height) return columns(vertical(pixels, axisY));

  // The rows between the first and the last that the vertical pass reads.
  const y = axisY.first[0]!;
  const end = axisY.first.at(-1)! + axisY.taps.at(-1)!;
  const needed = cut(pixels, { x: 0, y, width: pixels.width, height: end - y });
  return vertical(columns(needed), { ...axisY, first: axisY.first.map((first) => first - y) });
}

/** Weights of outputs `from` … `from + count - 1` when `inSize` pixels become `outSize`. */
function axis(filter: Filter, inSize: number, outSize: number, from: number, count: number): Axis {
  const scale = inSize / outSize;
  const filterScale = Math.max(scale, 1); // reducing widens the filter: every input counts
  const support = filter.support * filterScale;
  const first = new Int32Array(count);
  const taps = new Int32Array(count);
  const offset = new Int32Array(count);
  let total = 0;
  for (let i = 0; i < count; i++) {
    const center = (from + i + 0.5) * scale;
    first[i] = Math.max(Math.trunc(center - support + 0.5), 0);
    taps[i] = Math.min(Math.trunc(center + support + 0.5), inSize) - first[i]!;
    offset[i] = total;
    total += taps[i]!;
  }
  const weights = new Int32Array(total);
  const exact = new Float64Array(Math.max(...taps));
  for (let i = 0; i < count; i++) {
    const center = (from + i + 0.5) * scale;
    let sum = 0;
    for (let t = 0; t < taps[i]!; t++) {
      const x = (t + first[i]! - center + 0.5) * (1 / filterScale);
      exact[t] = x >= -filter.support && x < filter.support ? filter.weight(x) : 0;
      sum += exact[t]!;
    }
    for (let t = 0; t < taps[i]!; t++) {
      const weight = (sum === 0 ? exact[t]! : exact[t]! / sum) * (1 << PRECISION_BITS);
      weights[offset[i]! + t] = Math.trunc(weight < 0 ? weight - 0.5 : weight + 0.5);
    }
  }
  return { first, taps, offset, weights };
}

/** Keys' cubic convolution with a = -0.5, for x in 0 … 2. */
function cubic(x: number): number {
  return x < 1 ? (1.5 * x - 2.5) * x * x + 1 : (((x - 5) * x + 8) * x - 4) * -0.5;
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI);
}

function horizontal({ width, height, data }: Pixels, { first, taps, offset, weights }: Axis): Pixels {
  const count = first.length;
  const out = new Uint8Array(count * height * 3);
  for (let y = 0, o = 0; y < height; y++) {
    for (let x = 0; x < count; x++, o += 3) {
      let r = ROUND;
      let g = ROUND;
      let b = ROUND;
      let i = (y * width + first[x]!) * 3;
      const start = offset[x]!;
      const end = start + taps[x]!;
      for (let k = start; k < end; k++, i += 3) {
        const weight = weights[k]!;
        r = (r + Math.imul(data[i]!, weight)) | 0;
        g = (g + Math.imul(data[i + 1]!, weight)) | 0;
        b = (b + Math.imul(data[i + 2]!, weight)) | 0;
      }
      out[o] = clip(r);
      out[o + 1] = clip(g);
      out[o + 2] = clip(b);
    }
  }
  return { width: count, height, data: out };
}

function vertical({ width, data }: Pixels, { first, taps, offset, weights }: Axis): Pixels {
  const count = first.length;
  const stride = width * 3;
  const out = new Uint8Array(stride * count);
  for (let y = 0, o = 0; y < count; y++) {
    const start = offset[y]!;
    const end = start + taps[y]!;
    const top = first[y]! * stride;
    for (let x = 0; x < stride; x++, o++) {
      let sum = ROUND;
      for (let k = start, i = top + x; k < end; k++, i += stride) sum = (sum + Math.imul(data[i]!, weights[k]!)) | 0;
      out[o] = clip(sum);
    }
  }
  return { width, height: count, data: out };
}

function clip(sum: number): number {
  return Math.min(Math.max(sum >> PRECISION_BITS, 0), 255);
}

/** A rectangle; whole rows share the memory of the picture. */
function cut({ width, data }: Pixels, { x, y, width: w, height: h }: Window): Pixels {
  if (x === 0 && w === width) return { width, height: h, data: data.subarray(y * width * 3, (y + h) * width * 3) };
  const out = new Uint8Array(w * h * 3);
  for (let row = 0; row < h; row++) {
    const start = ((y + row) * width + x) * 3;
    out.set(data.subarray(start, start + w * 3), row * w * 3);
  }
  return { width: w, height: h, data: out };
}
