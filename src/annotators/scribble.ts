import { blurFloat, gaussianBlur } from "../image/gaussian-blur.ts";
import { greyPicture } from "../image/grey-level.ts";
import type { Pixels } from "../image/pixels.ts";

const [SIGMA, LEAST, FAINTEST] = [3, 127, 4];

/** Steps to one neighbour of a pair; the other lies opposite. */
const LINES = [
  [1, 0],
  [0, 1],
  [1, 1],
  [1, -1],
] as const;

/**
 * Soft edges as a drawing: the ridges of the blurred edges, blurred, and everything that is not black made white (controlnet_aux `nms` and
 * what follows it for `scribble`). The map's channels are alike.
 */
export function scribbleOf(edges: Pixels): Pixels {
  const { width, height } = edges;
  const blurred = new Float32Array(width * height);
  const level = Uint8Array.from(blurred, (_, p) => edges.data[3 * p]!);
  blurFloat({ width, height, data: level }, 1, SIGMA, (y, row) => blurred.set(row, y * width));
  const ridges = greyPicture(
    width,
    height,
    level.fill(0).map((_, p) => (isRidge(blurred, width, height, p) ? 255 : 0)),
  );
  const { data } = gaussianBlur(ridges, SIGMA);
  return { width, height, data: data.map((value) => (value > FAINTEST ? 255 : 0)) };
}

/** Whether a value above the threshold is the greatest of the three on any line through it; a plateau is. */
function isRidge(values: Float32Array, width: number, height: number, p: number): boolean {
  if (values[p]! <= LEAST) return false;
  const [x, y] = [p % width, Math.floor(p / width)];
  const isBelow = (u: number, v: number) =>
    u < 0 || v < 0 || u >= width || v >= height || values[v * width + u]! <= values[p]!;
  return LINES.some(([dx, dy]) => isBelow(x + dx, y + dy) && isBelow(x - dx, y - dy));
}
