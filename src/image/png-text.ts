/** Texts in a PNG (tEXt, iTXt and zTXt chunks; PNG specification, 11.3.3): read, and added without touching a pixel. */
import { crc32, inflateSync } from "node:zlib";
import { eachChunk } from "./strip/png.ts";

const SIGNATURE = Buffer.from("\x89PNG\r\n\x1a\n", "latin1");
/** The most bytes that the texts of a file may have together, unpacked. */
const MOST_TEXT = 1 << 20;
/** What each counts as at least: one that is damaged, or too long, costs time too. */
const LEAST_TEXT = MOST_TEXT / 64;

/** Splits at the first zero byte. */
function keyed(data: Buffer): [key: string, rest: Buffer] {
  const end = data.indexOf(0);
  return end < 0
    ? [data.toString("latin1"), Buffer.alloc(0)]
    : [data.toString("latin1", 0, end), data.subarray(end + 1)];
}

const inflated = (bytes: Buffer, most: number): Buffer => {
  try {
    return inflateSync(bytes, { maxOutputLength: most });
  } catch {
    return Buffer.alloc(0); // damaged, or far too much
  }
};

/** What follows the keyword of each kind of chunk, as text. */
const readers: Readonly<Record<string, (rest: Buffer, most: number) => string>> = {
  tEXt: (rest) => rest.toString("latin1"),
  zTXt: (rest, most) => inflated(rest.subarray(1), most).toString("latin1"),
  iTXt: (rest, most) => {
    const afterLanguage = rest.subarray(rest.indexOf(0, 2) + 1);
    const text = afterLanguage.subarray(afterLanguage.indexOf(0) + 1);
    return (rest[0] === 1 ? inflated(text, most) : text).toString();
  },
};

/** The texts of a PNG by their keywords, the first of them when there are very many; none of what is no PNG. */
export function readTexts(png: Buffer): Record<string, string> {
  if (!png.subarray(0, SIGNATURE.length).equals(SIGNATURE)) return {};
  const texts: [string, string][] = [];
  let left = MOST_TEXT;
  for (const { type, bytes } of eachChunk(png)) {
    const read = readers[type];
    if (read === undefined || left <= 0) continue;
    const data = bytes.subarray(8, -4); // between length and type, and the checksum
    const [key, rest] = keyed(data);
    const text = read(rest, left);
    left -= Math.max(text.length, data.length, LEAST_TEXT);
    texts.push([key, text]);
  }
  return Object.fromEntries(texts);
}

/** The chunk of a C2PA manifest, which is that of one file alone (C2PA specification 2.1, A.3.2). */
const MANIFEST = "caBX";

/**
 * The PNG with a text more, before its pixels: Latin-1 as tEXt, anything else as iTXt. Without its signed manifest, where it has one:
 * with a byte more in the file that would not be valid.
 */
export function withText(png: Buffer, key: string, text: string): Buffer {
  const isLatin = [...text].every((c) => c.charCodeAt(0) < 256);
  const data = isLatin
    ? Buffer.from(`${key}\0${text}`, "latin1")
    : Buffer.concat([Buffer.from(`${key}\0\0\0\0\0`, "latin1"), Buffer.from(text)]);
  const body = Buffer.concat([Buffer.from(isLatin ? "tEXt" : "iTXt"), data]);
  const [length, check] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  check.writeUInt32BE(crc32(body));
  const [first, ...rest] = [...eachChunk(png)].filter(({ type }) => type !== MANIFEST).map(({ bytes }) => bytes);
  return Buffer.concat([SIGNATURE, first!, length, body, check, ...rest]); // IHDR is first
}
