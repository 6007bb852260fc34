import { greyPicture } from "./grey-level.ts";
import { resizeNearest } from "./nearest.ts";
import { resizeArea, resizeCubic } from "./opencv-resize.ts";
import { otsu } from "./otsu.ts";
import type { Pixels } from "./pixels.ts";
import { thin } from "./thin.ts";

/** A map of more than two and less than this many colours has regions, whose colours must not be mixed. */
const FEW_COLOURS = 200;
const [ALMOST_BLACK, ALMOST_WHITE] = [16, 240];

/**
 * A finished map at another size, without colours that it did not have and with its lines as thin as they were:
 * few colours are not mixed, black and white stays so, and lines of one pixel keep being lines of one pixel.
 * Source: Mikubill/sd-webui-controlnet `high_quality_resize`.
 */
export function fitMap(map: Pixels, width: number, height: number): Pixels {
  if (map.width === width && map.height === height) return map;
  const colours = countColours(map, FEW_COLOURS);
  if (colours > 2 && colours < FEW_COLOURS) return resizeNearest(map, width, height);
  const [area, newArea] = [map.width * map.height, width * height];
  const resized = (newArea < area ? resizeArea : resizeCubic)(map, width, height);
  return colours === 2 && isBlackAndWhite(map) ? blackAndWhite(resized, isThin(map), newArea > area) : resized;
}

/** How many colours there are, `limit` or more counted as `limit`. */
export function countColours({ data }: Pixels, limit: number): number {
  const seen = new Uint8Array(2 ** 21);
  let count = 0;
  let before = -1;
  for (let i = 0; i < data.length && count < limit; i += 3) {
    const colour = (data[i]! << 16) | (data[i + 1]! << 8) | data[i + 2]!;
    if (colour === before) continue; // maps have large areas of one
    before = colour;
    const bit = 1 << (colour & 7);
    if (seen[colour >> 3]! & bit) continue;
    seen[colour >> 3]! |= bit;
    count++;
  }
  return count;
}

function isBlackAndWhite({ data }: Pixels): boolean {
  let [least, most] = [255, 0];
  for (const value of data) {
    if (value < least) least = value;
    if (value > most) most = value;
  }
  return least < ALMOST_BLACK && most > ALMOST_WHITE;
}

/** The mean of the channels, parted by Otsu's method; of thin lines the ridges alone, thinned. */
function blackAndWhite({ width, height, data }: Pixels, lines: boolean, enlarged: boolean): Pixels {
  const mean = new Uint8Array(width * height);
  for (let p = 0, i = 0; p < mean.length; p++, i += 3)
    mean[p] = Math.fround(Math.fround(data[i]! + data[i + 1]! + data[i + 2]!) / 3);
  const levels = lines ? ridges(mean, width, height) : mean;
  const level = otsu(levels);
  const parted = levels.map((value) => (value > level ? 255 : 0));
  if (lines) thin(parted, width, height, enlarged);
  return greyPicture(width, height, parted);
}

/** Levels that are not below both neighbours' in any of four directions; what is beyond the map is below all. */
function ridges(levels: Uint8Array, width: number, height: number): Uint8Array {
  const stride = width + 2;
  const framed = new Uint8Array(stride * (height + 2));
  for (let y = 0; y < height; y++) framed.set(levels.subarray(y * width, (y + 1) * width), (y + 1) * stride + 1);
  const directions = [1, stride, stride + 1, stride - 1];
  const out = new Uint8Array(levels.length);
  for (let y = 0, p = 0; y < height; y++)
    for (let x = 0, i = (y + 1) * stride + 1; x < width; x++, p++, i++) {
      const level = framed[i]!;
      if (level === 0) continue;
      for (const step of directions)
        if (framed[i - step]! <= level && framed[i + step]! <= level) {
          out[p] = level;
          break;
        }
    }
  return out;
}

/** Would more than half of what is white vanish if it were made a pixel smaller on all sides and then larger again? */
function isThin({ width, height, data }: Pixels): boolean {
  const channel = new Uint8Array(width * height);
  let [vanished, white] = [0, 0];
  for (let c = 0; c < 3; c++) {
    for (let p = 0; p < channel.length; p++) channel[p] = data[p * 3 + c]!;
    const opened = extreme(extreme(channel, width, height, Math.min), width, height, Math.max);
    for (let p = 0; p < channel.length; p++) {
      if (opened[p]! < channel[p]!) vanished++;
      if (channel[p]! > 127) white++;
    }
  }
  return 2 * vanished > white;
}

/** The least or the largest of each 3×3 pixels, as many of them as there are. */
function extreme(
  levels: Uint8Array,
  width: number,
  height: number,
  of: (a: number, b: number, c: number) => number,
): Uint8Array {
  const rows = new Uint8Array(levels.length);
  for (let y = 0, p = 0; y < height; y++)
    for (let x = 0; x < width; x++, p++)
      rows[p] = of(levels[x > 0 ? p - 1 : p]!, levels[p]!, levels[x < width - 1 ? p + 1 : p]!);
  const out = new Uint8Array(levels.length);
  for (let y = 0, p = 0; y < height; y++)
    for (let x = 0; x < width; x++, p++)
      out[p] = of(rows[y > 0 ? p - width : p]!, rows[p]!, rows[y < height - 1 ? p + width : p]!);
  return out;
}
