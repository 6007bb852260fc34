import { readHeader } from "../image/decode.ts";
import type { AnnotatorChoice } from "../schema/annotator-choice.ts";
import { tooLarge } from "../schema/annotator-pixels.ts";
import { MAX_IMAGE_PIXELS } from "../schema/fields.ts";
import { unprocessable } from "./unprocessable.ts";

/** @throws {Refused} when the picture has more pixels than its annotator takes; that it is a picture was seen before */
export async function checkSize(
  bytes: Uint8Array,
  choice: AnnotatorChoice,
  MAX_PIXELS: number,
  path: string,
): Promise<void> {
  const { width, height } = await readHeader(bytes, { maxPixels: MAX_IMAGE_PIXELS });
  const reason = tooLarge(choice, width, height, MAX_PIXELS);
  if (reason !== null) throw unprocessable("too_many_pixels", path, reason);
}
