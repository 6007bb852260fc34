import type { Pixels } from "./pixels.ts";
import { single } from "./rounding.ts";

/** Inputs to an output, rounded as OpenCV has it: not quite their quotient. */
export const scaleOf = (inSize: number, outSize: number) => 1 / (outSize / inSize);

/**
 * The inputs that each output covers, and the share of it that each fills: output i's from taps·i on, in fours. Where an output covers fewer than
 * the most, the last shares are 0.
 */
interface Shares {
  readonly taps: number;
  readonly input: Int32Array;
  readonly share: Float64Array;
}

function shares(inSize: number, outSize: number): Shares {
  const scale = scaleOf(inSize, outSize);
  const taps = Math.ceil((Math.ceil(scale) + 1) / 4) * 4;
  const input = new Int32Array(taps * outSize);
  const share = new Float64Array(taps * outSize);
  for (let i = 0; i < outSize; i++) {
    let place = taps * i;
    const add = (at: number, part: number) => {
      input[place] = at;
      share[place++] = Math.fround(part);
    };
    const begin = i * scale;
    const size = Math.min(scale, inSize - begin);
    const last = Math.min(Math.floor(begin + scale), inSize - 1);
    const first = Math.min(Math.ceil(begin), last);
    if (first - begin > 1e-3) add(first - 1, (first - begin) / size);
    for (let whole = first; whole < last; whole++) add(whole, 1 / size);
    const rest = begin + scale - last;
    if (rest > 1e-3) add(last, Math.min(rest, 1, size) / size);
  }
  return { taps, input, share };
}

/** INTER_AREA where no axis is enlarged, and not by whole numbers: the mean of what an output covers. */
export function covered(pixels: Pixels, width: number, height: number): Pixels {
  const columns = shares(pixels.width, width);
  const { taps, input, share } = shares(pixels.height, height);
  const length = width * 3;
  const kept = Array.from({ length: taps }, () => new Float64Array(length)); // two outputs share a row
  const sums = new Float64Array(length);
  const out = new Uint8Array(height * length);
  const row = (k: number) => kept[input[k]! % taps]!;
  for (let y = 0, made = 0; y < height; y++) {
    sums.fill(0);
    for (let k = taps * y; k < taps * (y + 1); k++) {
      if (share[k]! > 0 && input[k]! >= made) {
        made = input[k]! + 1;
        narrow(row(k), pixels.data, input[k]! * pixels.width * 3, columns);
      }
    }
    for (let k = taps * y; k < taps * (y + 1); k += 4)
      addFour(sums, row(k), share[k]!, row(k + 1), share[k + 1]!, row(k + 2), share[k + 2]!, row(k + 3), share[k + 3]!);
    writeBytes(sums, out, y * length);
  }
  return { width, height, data: out };
}

/** The row at `offset`, made narrower. Every product and every sum is rounded to float32. */
function narrow(row: Float64Array, data: Uint8Array, offset: number, { taps, input, share }: Shares): void {
  row.fill(0);
  for (let t = 0; t < taps; t += 4) narrowFour(row, data, offset, input, share, t, taps);
}

function narrowFour(
  row: Float64Array,
  data: Uint8Array,
  offset: number,
  input: Int32Array,
  share: Float64Array,
  tap: number,
  taps: number,
): void {
  for (let o = 0, k = tap; o < row.length; o += 3, k += taps) {
    const i = offset + input[k]! * 3;
    const j = offset + input[k + 1]! * 3;
    const l = offset + input[k + 2]! * 3;
    const m = offset + input[k + 3]! * 3;
    const p = share[k]!;
    const q = share[k + 1]!;
    const r = share[k + 2]!;
    const s = share[k + 3]!;
    row[o] = single(
      single(single(single(row[o]! + single(data[i]! * p)) + single(data[j]! * q)) + single(data[l]! * r)) +
        single(data[m]! * s),
    );
    row[o + 1] = single(
      single(
        single(single(row[o + 1]! + single(data[i + 1]! * p)) + single(data[j + 1]! * q)) + single(data[l + 1]! * r),
      ) + single(data[m + 1]! * s),
    );
    row[o + 2] = single(
      single(
        single(single(row[o + 2]! + single(data[i + 2]! * p)) + single(data[j + 2]! * q)) + single(data[l + 2]! * r),
      ) + single(data[m + 2]! * s),
    );
  }
}

function addFour(
  sums: Float64Array,
  a: Float64Array,
  p: number,
  b: Float64Array,
  q: number,
  c: Float64Array,
  r: number,
  d: Float64Array,
  s: number,
): void {
  for (let i = 0; i < sums.length; i++)
    sums[i] = single(
      single(single(single(sums[i]! + single(a[i]! * p)) + single(b[i]! * q)) + single(c[i]! * r)) + single(d[i]! * s),
    );
}

/** Adding and taking it away again rounds a small number to a whole one, half to even. */
const ROUNDER = 1.5 * 2 ** 52;

function writeBytes(sums: Float64Array, out: Uint8Array, offset: number): void {
  for (let i = 0; i < sums.length; i++) out[offset + i] = sums[i]! + ROUNDER - ROUNDER;
}
