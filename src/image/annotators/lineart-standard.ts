import { blurFloat } from "../gaussian-blur.ts";
import { greyPicture } from "../grey-level.ts";
import type { Pixels } from "../pixels.ts";

const LEAST_MIDDLE = 16;

/**
 * White lines where the picture is darker than its blur, scaled by the middle one of those above `intensityThreshold`
 * (controlnet_aux `LineartStandardDetector`).
 */
export function lineartStandard(pixels: Pixels, sigma: number, intensityThreshold: number): Pixels {
  const { width, height, data } = pixels;
  const darker = new Float32Array(width * height);
  blurFloat(pixels, 3, sigma, (y, row) => {
    for (let x = 0, i = 0, p = y * width; x < width; x++, i += 3, p++) {
      const least = Math.min(row[i]! - data[p * 3]!, row[i + 1]! - data[p * 3 + 1]!, row[i + 2]! - data[p * 3 + 2]!);
      darker[p] = Math.min(Math.max(least, 0), 255);
    }
  });
  const scale = Math.max(LEAST_MIDDLE, middleAbove(darker, intensityThreshold));
  const levels = new Uint8Array(darker.length);
  for (let p = 0; p < levels.length; p++) levels[p] = Math.min(Math.fround(Math.fround(darker[p]! / scale) * 127), 255);
  return greyPicture(width, height, levels);
}

const BINS_PER_LEVEL = 256;

/** The median of the values, 0 … 255, above `least`; of an even number of them the mean of the middle two, in float32; of none 0. */
function middleAbove(values: Float32Array, least: number): number {
  const counts = new Uint32Array(256 * BINS_PER_LEVEL);
  const bin = (value: number) => Math.floor(value * BINS_PER_LEVEL);
  let total = 0;
  for (const value of values)
    if (value > least) {
      counts[bin(value)]!++;
      total++;
    }
  if (total === 0) return 0;
  const nth = (n: number) => {
    let [found, left] = [0, n];
    for (; left >= counts[found]!; found++) left -= counts[found]!;
    return values.filter((value) => value > least && bin(value) === found).sort()[left]!;
  };
  const upper = nth(Math.floor(total / 2));
  return total % 2 === 1 ? upper : Math.fround((nth(total / 2 - 1) + upper) / 2);
}
