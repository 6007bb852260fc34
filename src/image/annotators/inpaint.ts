import { grey, hint } from "../hint.ts";
import type { Pixels } from "../pixels.ts";
import { AnnotationError } from "./annotation-error.ts";

/**
 * The picture with what is to be painted anew as -1: [3, H, W], else 0 … 1 (diffusers' `make_inpaint_condition`). No picture of
 * bytes can hold it.
 * @param mask of the picture's size, above a half of white where to paint
 * @throws {AnnotationError} when the sizes differ
 */
export function inpaint(pixels: Pixels, mask: Pixels): Float32Array {
  if (mask.width !== pixels.width || mask.height !== pixels.height)
    throw new AnnotationError(
      `the mask has ${mask.width}×${mask.height} pixels, the picture ${pixels.width}×${pixels.height}: they must be alike`,
    );
  const out = hint(pixels);
  const hidden = grey(mask);
  for (let i = 0; i < out.length; i++) if (hidden[i % hidden.length]! > 0.5) out[i] = -1;
  return out;
}
