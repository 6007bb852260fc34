/** Warnings of images whose transparency is dropped where it carries the meaning: strokes on a clear canvas, cut-out masks. */
import { transparentShare } from "../../src/image/decode.ts";
import { MAX_IMAGE_PIXELS } from "../../src/schema/fields.ts";
import { GenerationRequest } from "../../src/schema/generation-request.ts";
import { imagesOf } from "../../src/schema/images.ts";

/** Less of a picture than this is an edge that was smoothed, not something that is meant. */
const FEW = 0.001;

const isForAnnotator = ({ controls }: GenerationRequest, path: string) =>
  controls.some(({ annotator }, i) => annotator !== null && path.startsWith(`controls[${i}].image`));

/**
 * One for each field whose image is transparent somewhere.
 * @param files the images' bytes by their hashes
 * @param turn comes before each image; when it throws, reading ends
 */
export async function alphaWarnings(
  request: GenerationRequest,
  files: Readonly<Record<string, Uint8Array>>,
  turn: () => Promise<void>,
): Promise<string[]> {
  const shares = new Map<string, number>();
  const warnings: string[] = [];
  for (const [path, hash] of imagesOf(GenerationRequest, request)) {
    if (isForAnnotator(request, path)) continue; // which blends it with white
    if (!shares.has(hash)) {
      await turn();
      shares.set(hash, await transparentShare(files[hash]!, { maxPixels: MAX_IMAGE_PIXELS }));
    }
    const share = shares.get(hash)!;
    const control = /^controls\[(\d+)\]\.image/.exec(path)?.[1];
    const isBlended = control !== undefined && request.controls[Number(control)]!.annotator !== null; // with white
    if (share < FEW || isBlended) continue;
    const percent = `${share < 0.01 ? "less than 1" : Math.round(100 * share)} %`;
    const counts = path.includes("mask") ? "how light its colors are, not how clear they are" : "the colors under it";
    warnings.push(
      `${path}: ${percent} of the image is transparent; transparency is dropped, and ${counts} count: save it without alpha, over black or white as it is meant`,
    );
  }
  return warnings;
}
