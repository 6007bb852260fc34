/** How large a picture annotators take. */
import type { AnnotatorChoice } from "./annotator-choice.ts";
import { MAX_IMAGE_PIXELS } from "./fields.ts";
import { NETWORK_ANNOTATORS } from "./network-annotators.ts";

/** A map without a network is made of this many times MAX_PIXELS at once: some seconds, and less than a gigabyte. */
const WITHOUT_NETWORK = 4;

/**
 * The most pixels of a picture for an annotator: those that it works on at once. What is made smaller first, for the annotator or
 * for its network, may be as large as any image.
 */
export function mostPixels({ name, params }: AnnotatorChoice, MAX_PIXELS: number): number {
  const row: { atOwnSize?: boolean } | undefined = (NETWORK_ANNOTATORS as Record<string, { atOwnSize: boolean }>)[name];
  const resized = "detect_resolution" in params && (params.detect_resolution ?? params.resolution) !== null;
  if (resized || row?.atOwnSize === false) return MAX_IMAGE_PIXELS;
  return Math.min(row === undefined ? WITHOUT_NETWORK * MAX_PIXELS : MAX_PIXELS, MAX_IMAGE_PIXELS);
}

/** Why a picture is too large for an annotator; null when it is not. */
export function tooLarge(choice: AnnotatorChoice, width: number, height: number, MAX_PIXELS: number): string | null {
  const most = mostPixels(choice, MAX_PIXELS);
  if (width * height <= most) return null;
  const instead = "detect_resolution" in choice.params ? "; with detect_resolution larger ones too" : "";
  return `the picture has ${width}×${height} pixels: the annotator "${choice.name}" takes ${most} at most${instead}`;
}
