import { checkExif } from "./exif.ts";

/** "RIFF", the size of what follows, "WEBP". */
const HEAD_BYTES = 12;
const FLAGS_AT = 8; // in a VP8X chunk
const ICC_AND_XMP = 0x20 | 0x04;

/** What makes the one picture; of each the first counts. */
const PICTURE = new Set(["VP8X", "ANIM", "ANMF", "ALPH", "VP8 ", "VP8L", "EXIF"]);

/**
 * The file with its first frame alone, without profile and XMP: decoders look at each frame, and to find the next they begin
 * at the first again.
 * @throws {ImageError}
 */
export function stripWebp(webp: Buffer): Buffer {
  if (webp.length < HEAD_BYTES || webp.readUInt32LE(4) + 8 > webp.length) return webp; // it is cut off, as the decoder will say
  const kept = new Map<string, Buffer>();
  const last = webp.readUInt32LE(4) + 8;
  for (let at = HEAD_BYTES; at + 8 <= last; ) {
    const type = webp.toString("latin1", at, at + 4);
    const bytes = webp.readUInt32LE(at + 4);
    const end = at + 8 + bytes + (bytes % 2);
    if (at + 8 + bytes > last) return webp;
    if (type === "EXIF") checkExif(bytes);
    if (PICTURE.has(type) && !kept.has(type)) kept.set(type, webp.subarray(at, Math.min(end, last)));
    at = end;
  }
  const extended = kept.get("VP8X");
  if (extended !== undefined) {
    const flags = Buffer.from(extended);
    flags[FLAGS_AT]! &= ~ICC_AND_XMP;
    kept.set("VP8X", flags);
  }
  const stripped = Buffer.concat([webp.subarray(0, HEAD_BYTES), ...kept.values()]);
  stripped.writeUInt32LE(stripped.length - 8, 4);
  return stripped;
}
