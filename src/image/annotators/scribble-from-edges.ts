import { blurFloat, gaussianBlur } from "../gaussian-blur.ts";
import { greyLevels, greyPicture } from "../grey-level.ts";
import type { Pixels } from "../pixels.ts";

const [EDGE, SIGMA, LEAST] = [127, 3, 4];

/**
 * A map of soft edges as a scribble: their ridges alone, drawn broad (controlnet_aux `HEDdetector(scribble=True)`).
 */
export function scribbleFromEdges(edges: Pixels): Pixels {
  const { width, height } = edges;
  const thin = ridgesAbove(greyLevels(edges), width, height, EDGE, SIGMA);
  const broad = gaussianBlur(greyPicture(width, height, thin), SIGMA);
  return { width, height, data: broad.data.map((level) => (level > LEAST ? 255 : 0)) };
}

/**
 * White where the blurred edges are above `threshold` and not below both neighbours' in any of four directions; an even slope is
 * a ridge along its contour lines (controlnet_aux `nms`).
 */
export function ridgesAbove(
  edges: Uint8Array,
  width: number,
  height: number,
  threshold: number,
  sigma: number,
): Uint8Array {
  const stride = width + 2;
  const blurred = new Float32Array(stride * (height + 2)).fill(-1); // what is beyond the map is below all
  blurFloat({ width, height, data: edges }, 1, sigma, (y, row) => blurred.set(row, (y + 1) * stride + 1));
  const directions = [1, stride, stride + 1, stride - 1];
  const out = new Uint8Array(edges.length);
  for (let y = 0, p = 0; y < height; y++)
    for (let x = 0, i = (y + 1) * stride + 1; x < width; x++, p++, i++) {
      const level = blurred[i]!;
      const isRidge = (step: number) => blurred[i - step]! <= level && blurred[i + step]! <= level;
      if (level > threshold && directions.some(isRidge)) out[p] = 255;
    }
  return out;
}
