import assert from "node:assert/strict";
import { test } from "node:test";
import sharp from "sharp";
import { decodeImage } from "../../src/image/decode.ts";
import { encodeImage } from "../../src/image/encode.ts";
import type { Pixels } from "../../src/image/pixels.ts";
import { CONTENT_TYPES, OutputFormat } from "../../src/schema/generation-request.ts";

// Waves with a red and a blue half: smooth as a photo, with one coloured edge.
const [width, height] = [96, 64];
const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => {
  const [x, y, c] = [Math.floor(i / 3) % width, Math.floor(i / 3 / width), i % 3];
  const edge = c === 1 ? 0 : (c === 0) === x < 50 ? 60 : -60;
  return 128 + 60 * Math.sin(x / 9 + c) * Math.cos(y / 7) + edge;
});
const pixels: Pixels = { width, height, data };

function psnr(a: Uint8Array, b: Uint8Array): number {
  const squares = a.reduce((sum, value, i) => sum + (value - b[i]!) ** 2, 0);
  return 10 * Math.log10((255 ** 2 * a.length) / squares);
}

for (const [format, dB] of [
  ["png", Number.POSITIVE_INFINITY],
  ["webp", 35],
  ["jpeg", 45],
] as const)
  test(`${format} comes back ${dB === Number.POSITIVE_INFINITY ? "as it was" : `within ${dB} dB`}, and is the same file every time`, async (t) => {
    const file = await encodeImage(pixels, OutputFormat.parse(format));
    assert.deepEqual(await encodeImage({ ...pixels, data: data.slice() }, format), file);
    const back = await decodeImage(file, { maxPixels: width * height });
    assert.deepEqual([back.width, back.height], [width, height]);
    const measured = psnr(back.data, data);
    t.diagnostic(`${file.length} bytes, ${measured.toFixed(1)} dB`);
    assert.ok(measured >= dB);
    const { mediaType, exif, icc, xmp } = await sharp(file).metadata();
    assert.deepEqual([mediaType, exif, icc, xmp], [CONTENT_TYPES[format], undefined, undefined, undefined]);
  });
