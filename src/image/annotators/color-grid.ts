import { resizeNearest } from "../nearest.ts";
import { resizeArea, resizeCubic } from "../opencv-resize.ts";
import type { Pixels } from "../pixels.ts";
import { roundHalfEven } from "../rounding.ts";
import { AnnotationError } from "./annotation-error.ts";

const CELL = 64;

/**
 * Cells of 64 pixels, each of one colour (Mikubill/sd-webui-controlnet `t2ia_color_grid`).
 * @param resolution of the shorter side that the picture gets first; null = its own
 * @throws {AnnotationError} when a side is shorter than a cell
 */
export function colorGrid(pixels: Pixels, resolution: number | null): Pixels {
  const scale = (resolution ?? 0) / Math.min(pixels.width, pixels.height);
  const [width, height] =
    resolution === null
      ? [pixels.width, pixels.height]
      : [roundHalfEven(pixels.width * scale), roundHalfEven(pixels.height * scale)];
  if (Math.min(width, height) < CELL)
    throw new AnnotationError(
      `a color grid of ${width}×${height} pixels has no cell: a side must have ${CELL} or more`,
    );
  const cells = resizeCubic(resizeArea(pixels, width, height), Math.floor(width / CELL), Math.floor(height / CELL));
  return resizeNearest(cells, width, height);
}
