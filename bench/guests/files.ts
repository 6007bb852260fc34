/** The files that attacks are made of: small to send, large to take in. */
import { crc32, deflateSync, gzipSync } from "node:zlib";
import sharp from "sharp";

/** A tar.gz of so many files of one byte each. */
export function manyFiles(count: number): Buffer {
  const AT_ONCE = 20_000;
  const parts: Buffer[] = [];
  for (let from = 0; from < count; from += AT_ONCE) {
    const entries = Buffer.alloc(1024 * Math.min(AT_ONCE, count - from));
    for (let at = 0; at < entries.length; at += 1024) entry(entries.subarray(at, at + 1024), from + at / 1024);
    parts.push(gzipSync(entries, { level: 9 }));
  }
  return Buffer.concat([...parts, gzipSync(Buffer.alloc(1024))]); // members of one gzip file
}

/** A header and a block with one byte (POSIX ustar). */
function entry(block: Buffer, number: number): void {
  block.write(`f${number}`, 0);
  block.write("0000644\x000000000\x000000000\x0000000000001\x0000000000000\0        0", 100);
  block.write("ustar\x0000", 257);
  const sum = block.subarray(0, 512).reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  block.write("x", 512);
}

/** A PNG of 8×8 pixels with so many chunks of text that unpack to 50 MB each. */
export async function textBomb(chunks: number): Promise<Buffer> {
  const png = await sharp({ create: { width: 8, height: 8, channels: 3, background: "red" } })
    .png()
    .toBuffer();
  const data = Buffer.concat([Buffer.from("zTXtbomb\0\0"), deflateSync(Buffer.alloc(50_000_000))]);
  const text = Buffer.alloc(data.length + 8);
  text.writeUInt32BE(data.length - 4);
  data.copy(text, 4);
  text.writeUInt32BE(crc32(data), text.length - 4);
  const after = 33; // the signature and the header
  return Buffer.concat([png.subarray(0, after), ...Array<Buffer>(chunks).fill(text), png.subarray(after)]);
}

/** A progressive JPEG whose last scan comes so many times more. */
export async function scanBomb(scans: number): Promise<Buffer> {
  const side = 2048;
  const create = { width: side, height: side, channels: 3, background: "red" } as const;
  const jpeg = await sharp({ create }).jpeg({ progressive: true }).toBuffer();
  const last = jpeg.lastIndexOf(Buffer.from([0xff, 0xda]));
  const scan = jpeg.subarray(last, -2);
  return Buffer.concat([jpeg.subarray(0, last), ...Array<Buffer>(scans).fill(scan), jpeg.subarray(-2)]);
}
