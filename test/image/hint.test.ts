import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { decodeImage } from "../../src/image/decode.ts";
import { hint, mask, sample, toPixels } from "../../src/image/hint.ts";

const two = { width: 2, height: 1, data: Uint8Array.of(0, 51, 255, 128, 1, 127) };

test("a hint is planar, red first, value / 255 in float32", () => {
  assert.deepEqual(hint(two), Float32Array.of(0, 128 / 255, 51 / 255, 1 / 255, 1, 127 / 255));
});

test("an image for the VAE runs from -1 to 1", () => {
  const f = Math.fround;
  assert.deepEqual(
    sample(two),
    Float32Array.from([0, 128, 51, 1, 255, 127], (v) => f(2 * f(v / 255) - 1)),
  );
});

test("a mask is 1 from grey 128 on, and colours weigh as in Pillow's convert('L')", () => {
  const colours = [
    [128, 128, 128],
    [127, 127, 127],
    [255, 0, 0],
    [0, 255, 0],
    [0, 0, 255],
    [255, 87, 0],
    [255, 88, 0],
  ];
  const pixels = { width: 7, height: 1, data: Uint8Array.from(colours.flat()) };
  assert.deepEqual(mask(pixels), Float32Array.of(1, 0, 0, 1, 0, 0, 1));
});

test("decoded values are clamped and rounded half to even, as numpy does", () => {
  const half = (v: number) => (2 * (v + 0.5)) / 255 - 1; // comes out as v + 0.5 before rounding, also in float32
  const decoded = Float32Array.of(-1.5, half(127), half(203), -1, half(64), 0.999, 1.5, 1, Number.NaN);
  const { data } = toPixels(decoded, 3, 1); // red, green and blue of three pixels
  assert.deepEqual(data, Uint8Array.of(0, 0, 255, 128, 64, 255, 204, 255, 0));
  assert.throws(() => toPixels(new Float32Array(5), 2, 1), /5 values are not a picture of 3×1×2/);
});

test("a picture that diffusers decoded becomes the PNG that diffusers wrote", async (t) => {
  const folder = new URL("../fixtures/sd15/cases/plain_ddim/", import.meta.url);
  const file = readFileSync(new URL("expected.safetensors", folder));
  const headerBytes = Number(file.readBigUInt64LE(0));
  const { images } = JSON.parse(file.subarray(8, 8 + headerBytes).toString());
  const [, height, width] = images.shape; // [1, H, W, 3] in 0 … 1
  const start = 8 + headerBytes + images.data_offsets[0];
  const decoded = new Float32Array(3 * height * width); // [3, H, W] in -1 … 1
  for (let p = 0; p < height * width; p++)
    for (let c = 0; c < 3; c++) decoded[c * height * width + p] = 2 * file.readFloatLE(start + (p * 3 + c) * 4) - 1;

  const expected = await decodeImage(readFileSync(new URL("expected_0.png", folder)), { maxPixels: 1e6 });
  const pixels = toPixels(decoded, width, height);
  const worst = expected.data.reduce((most, value, i) => Math.max(most, Math.abs(value - pixels.data[i]!)), 0);
  t.diagnostic(`worst difference ${worst} of 255`);
  assert.equal(worst, 0);
});
