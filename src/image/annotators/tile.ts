import { resizeArea } from "../opencv-resize.ts";
import type { Pixels } from "../pixels.ts";
import { AnnotationError } from "./annotation-error.ts";

/** Below this rate the picture is not made smaller at all. */
const LEAST_RATE = 1.1;

/**
 * The picture `rate` times smaller, for a ControlNet that puts details back (Mikubill/sd-webui-controlnet `tile_resample`).
 * It is made larger again when it is fitted to the generation.
 * @throws {AnnotationError} when nothing would be left
 */
export function tile(pixels: Pixels, rate: number): Pixels {
  if (rate < LEAST_RATE) return pixels;
  const [width, height] = [Math.trunc(pixels.width / rate), Math.trunc(pixels.height / rate)];
  if (Math.min(width, height) < 1)
    throw new AnnotationError(
      `down_sampling_rate ${rate} leaves nothing of ${pixels.width}×${pixels.height} pixels: each side must have that many`,
    );
  return resizeArea(pixels, width, height);
}
