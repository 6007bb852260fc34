import sharp, { type Sharp } from "sharp";
import type { OutputFormat } from "../schema/generation-request.ts";
import type { Pixels } from "./pixels.ts";

/**
 * File formats of results. The same pixels and XMP give the same bytes on the same release and kind of machine; no other metadata is written.
 * - `png`: lossless.
 * - `webp`: lossy at quality 90; colour is stored at half resolution, as WebP always
 *   does, with the slower conversion that keeps coloured edges sharp.
 * - `jpeg`: quality 95 with colour at full resolution (4:4:4): results are often edited or fed back as control images.
 */
const encoders = {
  png: (image) => image.png({ compressionLevel: 6, adaptiveFiltering: true }),
  webp: (image) => image.webp({ quality: 90, smartSubsample: true }),
  jpeg: (image) => image.jpeg({ quality: 95, chromaSubsampling: "4:4:4" }),
} satisfies Record<OutputFormat, (image: Sharp) => Sharp>;

/** @param xmp goes into the file as it is; null = none (src/image/provenance.ts) */
export async function encodeImage(
  { width, height, data }: Pixels,
  format: OutputFormat,
  xmp: string | null = null,
): Promise<Uint8Array> {
  const image = sharp(data, { raw: { width, height, channels: 3 } });
  const file = await encoders[format](xmp === null ? image : image.withXmp(xmp)).toBuffer();
  return new Uint8Array(file.buffer, file.byteOffset, file.length);
}
