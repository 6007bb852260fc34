import type { Pixels } from "./pixels.ts";
import { aligned, words } from "./words.ts";

const grey = (red: number, green: number, blue: number) => (red * 9798 + green * 19_235 + blue * 3735 + 0x4000) >> 15;

/**
 * How light each pixel is, 0 … 255: OpenCV's `cvtColor(picture, COLOR_RGB2GRAY)` to the byte (ITU-R 601 weights, 15 bits).
 * Pillow's, in hint.ts, rounds otherwise.
 * @param room begins at a word, and what the levels are written to; may be the beginning of the picture's own bytes
 */
export function greyLevels({ width, height, data }: Pixels, room?: Uint8Array): Uint8Array {
  const out = room?.subarray(0, width * height) ?? new Uint8Array(width * height);
  const [from, to] = [words(data), words(out)];
  greyFours(from, to);
  for (let p = 4 * to.length, i = 3 * p; p < out.length; p++, i += 3)
    out[p] = grey(data[i]!, data[i + 1]!, data[i + 2]!);
  return out;
}

// The loops over all pixels are functions of their own. V8 compiles a loop while it runs; code that follows it in the same function was never run
// then, so that V8 falls back to its slow form there, and begins anew with the next picture.

function greyFours(from: Int32Array, to: Int32Array): void {
  for (let k = 0, i = 0; k < to.length; k++, i += 3) {
    const [a, b, c] = [from[i]!, from[i + 1]!, from[i + 2]!]; // four pixels are three words
    to[k] =
      grey(a & 255, (a >> 8) & 255, (a >> 16) & 255) |
      (grey(a >>> 24, b & 255, (b >> 8) & 255) << 8) |
      (grey((b >> 16) & 255, b >>> 24, c & 255) << 16) |
      (grey((c >> 8) & 255, (c >> 16) & 255, c >>> 24) << 24);
  }
}

/** The smallest of red, green and blue: what is left of a pixel when every colour counts as ink. */
export function darkestChannel(data: Uint8Array, i: number): number {
  return Math.min(data[i]!, data[i + 1]!, data[i + 2]!);
}

/** A grey picture: three channels alike. */
export function greyPicture(width: number, height: number, levels: Uint8Array): Pixels {
  const data = new Uint8Array(width * height * 3);
  const to = words(data);
  const fours = levels.length >> 2;
  repeatFours(levels, to, fours);
  for (let p = 4 * fours; p < levels.length; p++) data.fill(levels[p]!, 3 * p, 3 * p + 3);
  return { width, height, data };
}

function repeatFours(levels: Uint8Array, to: Int32Array, fours: number): void {
  for (let k = 0, p = 0, i = 0; k < fours; k++, p += 4, i += 3) {
    const [a, b, c, d] = [levels[p]!, levels[p + 1]!, levels[p + 2]!, levels[p + 3]!];
    to[i] = a | (a << 8) | (a << 16) | (b << 24);
    to[i + 1] = b | (b << 8) | (c << 16) | (c << 24);
    to[i + 2] = c | (d << 8) | (d << 16) | (d << 24);
  }
}

const LAST = 0xff00_0000 | 0;

/**
 * A picture in black and white: white where `isWhite` says so of a pixel's level.
 * @param out what it is written to, three bytes a level; may begin with the levels, as it is written from its end
 */
export function blackAndWhite(
  { width, height }: Pick<Pixels, "width" | "height">,
  levels: Uint8Array,
  isWhite: (level: number) => boolean,
  out: Uint8Array = new Uint8Array(levels.length * 3),
): Pixels {
  const data = aligned(out);
  const [from, to] = [words(levels), words(data)];
  const white = Int32Array.from({ length: 256 }, (_, level) => (isWhite(level) ? -1 : 0)); // all bits of a word, or none
  for (let p = levels.length - 1; p >= 4 * from.length; p--) data.fill(white[levels[p]!]!, 3 * p, 3 * p + 3);
  paintFours(from, to, white);
  return { width, height, data };
}

function paintFours(from: Int32Array, to: Int32Array, white: Int32Array): void {
  for (let k = from.length - 1, i = 3 * k; k >= 0; k--, i -= 3) {
    const four = from[k]!;
    const [b, c] = [white[(four >> 8) & 255]!, white[(four >> 16) & 255]!];
    to[i] = (white[four & 255]! & ~LAST) | (b & LAST);
    to[i + 1] = (b & 0xffff) | (c & ~0xffff);
    to[i + 2] = (c & 0xff) | (white[four >>> 24]! & ~0xff);
  }
}
