import type { Pixels } from "./pixels.ts";

/**
 * How light each pixel is, 0 … 255: OpenCV's `cvtColor(picture, COLOR_RGB2GRAY)` to the byte (ITU-R 601 weights, 15 bits).
 * Pillow's, in hint.ts, rounds otherwise.
 */
export function greyLevels({ width, height, data }: Pixels): Uint8Array {
  const out = new Uint8Array(width * height);
  for (let p = 0, i = 0; p < out.length; p++, i += 3)
    out[p] = (data[i]! * 9798 + data[i + 1]! * 19235 + data[i + 2]! * 3735 + 0x4000) >> 15;
  return out;
}

/** The smallest of red, green and blue: what is left of a pixel when every colour counts as ink. */
export function darkestChannel(data: Uint8Array, i: number): number {
  return Math.min(data[i]!, data[i + 1]!, data[i + 2]!);
}

/** A grey picture: three channels alike. */
export function greyPicture(width: number, height: number, levels: ArrayLike<number>): Pixels {
  const data = new Uint8Array(width * height * 3);
  for (let p = 0, i = 0; i < data.length; p++) {
    const level = levels[p]!;
    data[i++] = level;
    data[i++] = level;
    data[i++] = level;
  }
  return { width, height, data };
}
