import type { AnnotatorChoice } from "../schema/annotator-choice.ts";
import { tooLarge } from "../schema/annotator-pixels.ts";
import type { Size } from "./checked-images.ts";
import { unprocessable } from "./unprocessable.ts";

/** @throws {Refused} when the picture has more pixels than its annotator takes */
export function checkSize({ width, height }: Size, choice: AnnotatorChoice, MAX_PIXELS: number, path: string): void {
  const reason = tooLarge(choice, width, height, MAX_PIXELS);
  if (reason !== null) throw unprocessable("too_many_pixels", path, reason);
}
