/** A picture as annotators read it, when it is not too large for them. */
import { decodeOverWhite } from "../../../src/image/decode.ts";
import { ImageError } from "../../../src/image/image-error.ts";
import { imageSize } from "../../../src/image/opencv-resize.ts";
import type { Pixels } from "../../../src/image/pixels.ts";
import type { AnnotatorChoice } from "../../../src/schema/annotator-choice.ts";
import { tooLarge } from "../../../src/schema/annotator-pixels.ts";
import { MAX_IMAGE_PIXELS } from "../../../src/schema/fields.ts";
import { MapError } from "./made.ts";

/** What a picture resized by a parameter may have, as a multiple of MAX_PIXELS: a long strip would have more. */
const RESIZED = 4;

/** @throws {MapError} when it is no picture, or has too many pixels */
export async function readPicture(bytes: Uint8Array, choice: AnnotatorChoice, maxPixels: number): Promise<Pixels> {
  const pixels = await decodeOverWhite(bytes, { maxPixels: MAX_IMAGE_PIXELS }).catch((error: unknown) => {
    throw error instanceof ImageError ? new MapError("image_undecodable", error.message) : error;
  });
  const reason = tooLarge(choice, pixels.width, pixels.height, maxPixels);
  if (reason !== null) throw new MapError("too_many_pixels", reason);
  for (const field of ["detect_resolution", "image_resolution", "resolution"] as const) {
    const resolution = (choice.params as Record<string, unknown>)[field];
    if (typeof resolution === "number") checkResized(pixels, field, resolution, RESIZED * maxPixels);
  }
  return pixels;
}

function checkResized(pixels: Pixels, field: string, resolution: number, most: number): void {
  const { width, height } = imageSize(pixels, resolution);
  if (width * height <= most) return;
  const message = `with ${field} ${resolution}, the picture of ${pixels.width}×${pixels.height} becomes ${width}×${height}: at most ${most} pixels are allowed`;
  throw new MapError("too_many_pixels", message);
}
