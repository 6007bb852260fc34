import { crc32 } from "node:zlib";
import { ImageError } from "../image-error.ts";
import { checkExif } from "./exif.ts";

const SIGNATURE_BYTES = 8;
/** Around a chunk's data: its length and type before, its checksum behind. */
const FRAME_BYTES = 12;

/** Chunks that may be left out by their type (PNG 5.4: a lower-case first letter) and change what is decoded all the same. */
const KEPT = new Set(["tRNS", "eXIf"]);

/** One chunk (PNG 5.3), with its frame. */
export interface PngChunk {
  readonly type: string;
  readonly bytes: Buffer;
}

/** The chunks as far as they are whole, one at a time: there may be a million of them. */
export function* eachChunk(png: Buffer): Generator<PngChunk> {
  let at = SIGNATURE_BYTES;
  while (at + FRAME_BYTES <= png.length) {
    const end = at + FRAME_BYTES + png.readUInt32BE(at);
    if (end > png.length) return;
    yield { type: png.toString("latin1", at + 4, at + 8), bytes: png.subarray(at, end) };
    at = end;
  }
}

/** The chunks up to IEND; `rest` is what follows them when no IEND does. */
export function chunksOf(png: Buffer): { chunks: PngChunk[]; rest: Buffer } {
  const chunks: PngChunk[] = [];
  let at = SIGNATURE_BYTES;
  for (const chunk of eachChunk(png)) {
    chunks.push(chunk);
    if (chunk.type === "IEND") return { chunks, rest: Buffer.alloc(0) };
    at += chunk.bytes.length;
  }
  return { chunks, rest: png.subarray(at) };
}

/** Whether the checksum is that of type and data (PNG 5.5). */
export const isWholePng = ({ bytes }: PngChunk) =>
  crc32(bytes.subarray(4, -4)) === bytes.readUInt32BE(bytes.length - 4);

/**
 * The file without the chunks that do not change a pixel: text, profiles, later frames. A decoder inflates each of them, and 50 kB
 * can be 50 MB of text.
 * @throws {ImageError}
 */
export function stripPng(png: Buffer): Buffer {
  const { chunks, rest } = chunksOf(png);
  const isKept = ({ type }: PngChunk) => KEPT.has(type) || /^[A-Z]/.test(type);
  const kept = chunks.filter(isKept);
  const damaged = chunks.find((chunk) => !isKept(chunk) && !isWholePng(chunk));
  if (damaged !== undefined) {
    throw new ImageError(`the png image is damaged (the checksum of a chunk ${JSON.stringify(damaged.type)} is wrong)`);
  }
  for (const { type, bytes } of kept) if (type === "eXIf") checkExif(bytes.length - FRAME_BYTES);
  return Buffer.concat([png.subarray(0, SIGNATURE_BYTES), ...kept.map(({ bytes }) => bytes), rest]);
}
