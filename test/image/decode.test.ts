import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { crc32 } from "node:zlib";
import sharp from "sharp";
import { decodeImage, verify } from "../../src/image/decode.ts";
import { ImageError } from "../../src/image/image-error.ts";

const limits = { maxPixels: 10_000 };
const fixture = (path: string) => readFileSync(new URL(`../fixtures/${path}`, import.meta.url));
// Made by fixtures/make/decode.py.
const reference: { files: Record<string, { size: [number, number]; sha256: string }> } = JSON.parse(
  fixture("image/decode.json").toString(),
);

for (const [path, { size, sha256 }] of Object.entries(reference.files))
  test(`${path} decodes to Pillow's bytes`, async () => {
    const { width, height, data } = await decodeImage(fixture(path), limits);
    assert.deepEqual([width, height, data.length], [...size, size[0] * size[1] * 3]);
    assert.equal(createHash("sha256").update(data).digest("hex"), sha256);
    assert.deepEqual(await verify(fixture(path), limits), { width, height });
  });

/** By what decodes and by what only looks whether it could. */
async function refused(bytes: Uint8Array, message: RegExp, maxPixels = limits.maxPixels) {
  for (const read of [decodeImage, verify]) {
    await assert.rejects(read(bytes, { maxPixels }), (error) => {
      assert.ok(error instanceof ImageError, String(error));
      assert.match(error.message, message);
      return true;
    });
  }
}

test("what is not a PNG, JPEG, WebP or GIF is refused by its content", async () => {
  const svg = '<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><rect width="8" height="8"/></svg>';
  const blank = sharp({ create: { width: 8, height: 8, channels: 3, background: "red" } });
  const others = [
    Buffer.alloc(0),
    Buffer.from("hello"),
    Buffer.from(svg),
    Buffer.from(`RIFF1234WAVE${svg}`),
    Buffer.from("%PDF-1.7\n%%EOF"),
    Buffer.from("push graphic-context\nviewbox 0 0 8 8\npop graphic-context"),
    Buffer.from("P3 1 1 255 0 0 0"),
    await blank.clone().tiff().toBuffer(),
    await blank.clone().avif().toBuffer(),
  ];
  for (const bytes of others) await refused(bytes, /not an image of a known type: PNG, JPEG, WebP and GIF are allowed/);
});

test("a file that ends too early or is damaged is refused", async () => {
  for (const [name, length] of [
    ["rgb.png", 250],
    ["rgb.png", 8],
    ["420.jpg", 600],
    ["420.jpg", 3],
    ["lossy.webp", 100],
    ["animation.gif", 100],
    ["animation.gif", 6],
  ] as const)
    await refused(fixture(`image/decode/${name}`).subarray(0, length), /damaged or incomplete/);
  const damaged = Buffer.from(fixture("image/decode/rgb.png"));
  damaged[200]! ^= 0xff;
  await refused(damaged, /the png image is damaged or incomplete/);
});

/** A PNG of 8-bit RGB whose header announces this size. */
function announcing(width: number, height: number): Buffer {
  const header = Buffer.alloc(33);
  header.write("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "latin1");
  header.writeUInt32BE(width, 16);
  header.writeUInt32BE(height, 20);
  header.set([8, 2, 0, 0, 0], 24);
  header.writeUInt32BE(crc32(header.subarray(12, 29)), 29);
  return Buffer.concat([header, fixture("image/decode/rgb.png").subarray(33)]);
}

test("a picture with a side of more than 65,535 pixels is refused, however few it has in all", async () => {
  await refused(announcing(65_536, 1), /65536×1 pixels: at most 65535 a side are allowed/, 100_000);
  await refused(announcing(1, 65_536), /1×65536 pixels: at most 65535 a side/, 100_000);
  const row = sharp({ create: { width: 65_535, height: 1, channels: 3, background: "teal" } });
  assert.equal((await decodeImage(await row.png().toBuffer(), { maxPixels: 100_000 })).width, 65_535);
});

test("a picture with more pixels than allowed is refused from its header", async (t) => {
  await refused(fixture("image/decode/rgb.png"), /13×9 pixels: at most 116 in all/, 116);
  await decodeImage(fixture("image/decode/rgb.png"), { maxPixels: 117 });

  const bomb = announcing(20_000, 20_000); // 1.2 GB of pixels
  const before = process.memoryUsage().rss;
  const begin = performance.now();
  await refused(bomb, /20000×20000/, 2048 ** 2);
  const [ms, mb] = [performance.now() - begin, (process.memoryUsage().rss - before) / 1e6];
  t.diagnostic(`${bomb.length} bytes refused in ${ms.toFixed(1)} ms and ${mb.toFixed(1)} MB`);
  assert.ok(ms < 500 && mb < 100);
});
