import { decodeImage } from "../../src/image/decode.ts";
import type { Pixels } from "../../src/image/pixels.ts";
import { MAX_IMAGE_PIXELS } from "../../src/schema/fields.ts";
import { Lately } from "./lately.ts";

/** Pixels that are kept: the largest image, or hundreds of a usual size. */
const KEPT_BYTES = 3 * MAX_IMAGE_PIXELS;

/**
 * Decodes a request's images by their hashes; one that is named again, as for each of many controls, is not decoded again as
 * long as there is room for it.
 */
export function decodingOnce(files: Readonly<Record<string, Uint8Array>>): (hash: string) => Promise<Pixels> {
  const kept = new Lately<Pixels>(KEPT_BYTES, ({ data }) => data.length);
  return (hash) => kept.get(hash, () => decodeImage(files[hash]!, { maxPixels: MAX_IMAGE_PIXELS }));
}
