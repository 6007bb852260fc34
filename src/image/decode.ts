import sharp from "sharp";
import { ImageError } from "./image-error.ts";
import type { Pixels } from "./pixels.ts";
import { isIntactPng } from "./png-intact.ts";
import { stripGif } from "./strip/gif.ts";
import { stripJpeg } from "./strip/jpeg.ts";
import { stripPng } from "./strip/png.ts";
import { stripWebp } from "./strip/webp.ts";

/** `maxPixels`: width × height that a header may announce; a larger picture is refused before any of it is decoded. */
export interface DecodeLimits {
  readonly maxPixels: number;
}

// Only what people send as control images and what one small, well-fuzzed decoder each can read. Everything else that
// libvips knows (SVG and PDF, which fetch and run things, TIFF, AVIF, HEIF, ImageMagick's formats) is never handed to it.
// Each is handed over without what changes no pixel and costs time: see strip.
const formats = {
  png: { is: (b) => starts(b, "\x89PNG\r\n\x1a\n"), strip: stripPng },
  jpeg: { is: (b) => starts(b, "\xff\xd8\xff"), strip: stripJpeg },
  webp: { is: (b) => starts(b, "RIFF") && starts(b.subarray(8), "WEBP"), strip: stripWebp },
  gif: { is: (b) => starts(b, "GIF87a") || starts(b, "GIF89a"), strip: stripGif },
} satisfies Record<string, { is: (bytes: Uint8Array) => boolean; strip: (bytes: Buffer) => Buffer }>;
const allowed = "PNG, JPEG, WebP and GIF are allowed";
/** What a JPEG or a GIF can have. To resize a PNG of one row of 30,000,000 pixels would cost gigabytes. */
const LONGEST_SIDE = 65_535;

// Every picture is decoded once; libvips' cache would keep strangers' pixels alive.
sharp.cache(false);

/** What a header announces, width and height before EXIF orientation is applied, and the bytes that the decoder gets. */
interface Opened {
  readonly format: keyof typeof formats;
  readonly width: number;
  readonly height: number;
  readonly upright: { readonly width: number; readonly height: number };
  readonly hasAlpha: boolean;
  readonly isCmyk: boolean;
  readonly stripped: Buffer;
}

/**
 * Decodes a PNG, JPEG, WebP or GIF, told by its content, to what Pillow 12 gives for
 * `ImageOps.exif_transpose(image).convert("RGB")` (which is diffusers' `load_image`), to the byte:
 * EXIF orientation applied, alpha and transparent colours dropped (not blended), grey repeated, the first frame of an
 * animation, CMYK without profile (`(255 - c)(255 - k) / 255`), no ICC profile or gamma applied.
 * Two differences: 16-bit grey keeps its high byte, as every other 16-bit PNG does (Pillow clips at 255, so that a depth
 * map turns white), and a GIF's transparent pixels are black.
 * Truncated files and those with errors in their data are refused where Pillow refuses them.
 * @throws {ImageError}
 */
export async function decodeImage(bytes: Uint8Array, limits: DecodeLimits): Promise<Pixels> {
  return decodeOpened(await open(bytes, limits), limits);
}

async function decodeOpened(opened: Opened, limits: DecodeLimits): Promise<Pixels> {
  const { data, info } = await decodeRaw(opened, limits);
  return { width: info.width, height: info.height, data: opened.isCmyk ? cmykToRgb(data) : plain(data) };
}

/**
 * As {@link decodeImage}, but what is transparent is blended with white, in float32 and truncated: what annotators read
 * (controlnet_aux `HWC3`).
 * @throws {ImageError}
 */
export async function decodeOverWhite(bytes: Uint8Array, limits: DecodeLimits): Promise<Pixels> {
  const opened = await open(bytes, limits);
  if (!opened.hasAlpha || opened.isCmyk) return decodeOpened(opened, limits);
  const { data, info } = await decodeRaw(opened, limits, "keep");
  return { width: info.width, height: info.height, data: overWhite(data) };
}

/**
 * Whether {@link decodeImage} takes it, and the size that it then has. It keeps nothing of the pixels, and leaves out what `decode`
 * computes of CMYK: 0.6 s for 50 megapixels.
 * @param goesOn told the size that the header announces, whether the pixels are looked at too
 * @throws {ImageError}
 */
export async function verify(
  bytes: Uint8Array,
  limits: DecodeLimits,
  goesOn: (width: number, height: number) => boolean = () => true,
): Promise<{ width: number; height: number }> {
  const opened = await open(bytes, limits);
  const { format, width, height, stripped } = opened;
  if (!goesOn(width, height) || (format === "png" && isIntactPng(stripped))) return opened.upright;
  const { info } = await decodeRaw(opened, limits);
  return { width: info.width, height: info.height };
}

/** Alpha of less than this shows what is behind. */
const OPAQUE = 250;

/**
 * The share of a picture's pixels that are not opaque, 0 … 1; what {@link decodeImage} drops of it.
 * @throws {ImageError}
 */
export async function transparentShare(bytes: Uint8Array, limits: DecodeLimits): Promise<number> {
  const { format, hasAlpha, stripped } = await open(bytes, limits);
  if (!hasAlpha) return 0;
  const image = sharp(stripped, { limitInputPixels: limits.maxPixels, failOn: "error" });
  const alpha = await readable(format, image.extractChannel("alpha").raw({ depth: "uchar" }).toBuffer());
  let clear = 0;
  for (const value of alpha) if (value < OPAQUE) clear++;
  return clear / alpha.length;
}

/**
 * Reads a picture's header, when it is within the limits.
 * @throws {ImageError}
 */
async function open(bytes: Uint8Array, { maxPixels }: DecodeLimits): Promise<Opened> {
  const [format, { strip }] = Object.entries(formats).find(([, { is }]) => is(bytes)) ?? [undefined, { strip: null }];
  if (format === undefined || strip === null) throw new ImageError(`not an image of a known type: ${allowed}`);
  const stripped = strip(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
  const header = await readable(format, sharp(stripped, { limitInputPixels: false }).metadata());
  if (header.format !== format) throw new ImageError(`not an image of a known type: ${allowed}`);
  const { width, height, space, hasAlpha, autoOrient: upright } = header;
  const has = `the image has ${width}×${height} pixels`;
  if (width * height > maxPixels) throw new ImageError(`${has}: at most ${maxPixels} in all are allowed`);
  if (Math.max(width, height) > LONGEST_SIDE)
    throw new ImageError(`${has}: at most ${LONGEST_SIDE} a side are allowed`);
  return { format: format as Opened["format"], width, height, upright, hasAlpha, isCmyk: space === "cmyk", stripped };
}

/** A picture upright, as RGB or, where alpha is kept, RGBA, but of a CMYK picture its four inks. */
function decodeRaw({ format, isCmyk, stripped }: Opened, { maxPixels }: DecodeLimits, alpha: "drop" | "keep" = "drop") {
  const image = sharp(stripped, { limitInputPixels: maxPixels, failOn: "error", ignoreIcc: true, autoOrient: true });
  const stored = isCmyk
    ? image.pipelineColourspace("cmyk").toColourspace("cmyk")
    : (alpha === "keep" ? image.ensureAlpha() : image.removeAlpha()).toColourspace("srgb");
  return readable(format, stored.raw({ depth: "uchar" }).toBuffer({ resolveWithObject: true }));
}

/** The picture's bytes as a decoder may get them. @throws {ImageError} */
export function strip(bytes: Uint8Array): Buffer {
  const format = Object.values(formats).find(({ is }) => is(bytes));
  if (format === undefined) throw new ImageError(`not an image of a known type: ${allowed}`);
  return format.strip(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
}

function starts(bytes: Uint8Array, magic: string): boolean {
  return bytes.length >= magic.length && Array.from(magic).every((c, i) => bytes[i] === c.charCodeAt(0));
}

const plain = (buffer: Buffer) => new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.length);

async function readable<T>(format: string, reading: Promise<T>): Promise<T> {
  try {
    return await reading;
  } catch (cause) {
    const reason = (cause as Error).message.replace(/\s+/g, " ").slice(0, 200);
    throw new ImageError(`the ${format} image is damaged or incomplete (${reason})`, { cause });
  }
}

function overWhite(rgba: Uint8Array): Uint8Array {
  const f = Math.fround;
  const rgb = new Uint8Array((rgba.length / 4) * 3);
  for (let i = 0, o = 0; i < rgba.length; i += 4) {
    const alpha = f(rgba[i + 3]! / 255);
    const white = f(255 * f(1 - alpha));
    for (let c = 0; c < 3; c++) rgb[o++] = Math.min(f(f(rgba[i + c]! * alpha) + white), 255);
  }
  return rgb;
}

/** Pillow's conversion without a profile (libImaging/Convert.c, `cmyk2rgb`): white minus black, minus the ink's share of it. */
function cmykToRgb(cmyk: Uint8Array): Uint8Array {
  const rgb = new Uint8Array((cmyk.length / 4) * 3);
  for (let i = 0, o = 0; i < cmyk.length; i += 4) {
    const white = 255 - cmyk[i + 3]!;
    for (let c = 0; c < 3; c++) {
      const product = cmyk[i + c]! * white + 128;
      rgb[o++] = white - ((product + (product >> 8)) >> 8); // product / 255, rounded
    }
  }
  return rgb;
}
