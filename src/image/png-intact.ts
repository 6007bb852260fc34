import { inflateSync } from "node:zlib";
import { chunksOf, isWholePng, type PngChunk } from "./strip/png.ts";

/** What is inflated at once: a picture of 4096² in RGB, about. */
const MAX_BYTES = 64 * 2 ** 20;
/** Channels by color type (PNG 11.2.2); those of a palette are not judged here. */
const CHANNELS: Readonly<Record<number, number>> = { 0: 1, 2: 3, 4: 2, 6: 4 };
const LAST_FILTER = 4;

/**
 * Whether a plain PNG holds all that it announces, told without undoing filters, which cannot fail, or converting colors: a
 * quarter of what decoding costs. Plain: of 8 or 16 bits a channel, no palette, not interlaced, nothing beside the pixels.
 * @returns false when it is not, or when that is for the decoder to say
 */
export function isIntactPng(png: Buffer): boolean {
  const { chunks, rest } = chunksOf(png);
  const [header, ...data] = chunks;
  if (header?.type !== "IHDR" || header.bytes.length !== 25 || data.pop()?.bytes.length !== 12 || rest.length > 0)
    return false;
  if (data.length === 0 || data.some(({ type }) => type !== "IDAT") || !chunks.every(isWholePng)) return false;
  const [width, height] = [header.bytes.readUInt32BE(8), header.bytes.readUInt32BE(12)];
  const [depth, color, compression, filter, interlace] = header.bytes.subarray(16, 21);
  const channels = CHANNELS[color!];
  if (channels === undefined || (depth !== 8 && depth !== 16)) return false;
  if (compression !== 0 || filter !== 0 || interlace !== 0) return false;
  const row = 1 + (width * channels * depth) / 8;
  const pixels = row * height > MAX_BYTES ? null : inflated(data, row * height);
  if (pixels === null) return false;
  for (let at = 0; at < pixels.length; at += row) if (pixels[at]! > LAST_FILTER) return false;
  return true;
}

/** The chunks' data as it was before it was compressed; null when it has not so many bytes, or is damaged. */
function inflated(chunks: readonly PngChunk[], bytes: number): Buffer | null {
  const data = Buffer.concat(chunks.map((chunk) => chunk.bytes.subarray(8, -4)));
  try {
    const { buffer, engine } = inflateSync(data, { info: true, maxOutputLength: bytes }) as unknown as {
      buffer: Buffer;
      engine: { bytesWritten: number };
    };
    return buffer.length === bytes && engine.bytesWritten === data.length ? buffer : null;
  } catch {
    return null;
  }
}
