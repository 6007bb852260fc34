import type { Pixels } from "../pixels.ts";

/** Eight bytes of 255. */
const WHITE = 0xffff_ffff_ffff_ffffn;

/** 255 less each channel: black lines on white become white on black. Eight bytes at once, and four times that in a round. */
export function invert({ width, height, data }: Pixels): Pixels {
  const out = new Uint8Array(data.length);
  const own = data.byteOffset % 8 === 0 ? data : data.slice();
  const from = new BigUint64Array(own.buffer, own.byteOffset, own.length >> 3);
  const to = new BigUint64Array(out.buffer, 0, from.length);
  const fours = to.length & ~3;
  negate(from, to, fours);
  for (let i = 8 * fours; i < out.length; i++) out[i] = 255 - data[i]!;
  return { width, height, data: out };
}

// A function of its own, as the loops of grey-level.ts are.
function negate(from: BigUint64Array, to: BigUint64Array, end: number): void {
  for (let i = 0; i < end; i += 4) {
    to[i] = from[i]! ^ WHITE;
    to[i + 1] = from[i + 1]! ^ WHITE;
    to[i + 2] = from[i + 2]! ^ WHITE;
    to[i + 3] = from[i + 3]! ^ WHITE;
  }
}
