/** What decoders of strangers' images never see. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { crc32, deflateSync } from "node:zlib";
import sharp from "sharp";
import { decodeImage, verify } from "../../src/image/decode.ts";
import { isIntactPng } from "../../src/image/png-intact.ts";
import { stripGif } from "../../src/image/strip/gif.ts";
import { stripJpeg } from "../../src/image/strip/jpeg.ts";
import { stripPng } from "../../src/image/strip/png.ts";
import { stripWebp } from "../../src/image/strip/webp.ts";

const limits = { maxPixels: 1_000_000 };
const fixture = (name: string) => readFileSync(new URL(`../fixtures/image/decode/${name}`, import.meta.url));
const png = fixture("rgb.png");

function chunk(type: string, data: Uint8Array): Buffer {
  const framed = Buffer.concat([Buffer.alloc(4), Buffer.from(type, "latin1"), data, Buffer.alloc(4)]);
  framed.writeUInt32BE(data.length);
  framed.writeUInt32BE(crc32(framed.subarray(4, -4)), framed.length - 4);
  return framed;
}

/** rgb.png with more chunks behind its header. */
const withChunks = (...chunks: Buffer[]) => Buffer.concat([png.subarray(0, 33), ...chunks, png.subarray(33)]);

test("text that would unpack to gigabytes is left out of a PNG, and its picture is the same", async () => {
  const text = chunk("zTXt", Buffer.concat([Buffer.from("bomb\0\0"), deflateSync(Buffer.alloc(50_000_000))]));
  const bomb = withChunks(...Array.from({ length: 100 }, () => text));
  assert.ok(stripPng(bomb).length <= png.length);
  assert.deepEqual(await decodeImage(bomb, limits), await decodeImage(png, limits));
});

test("text that is damaged is refused, with the name of its chunk", async () => {
  const text = chunk("tEXt", Buffer.from("Title\0A house"));
  assert.deepEqual(await decodeImage(withChunks(text), limits), await decodeImage(png, limits));
  text[10]! ^= 1;
  for (const read of [decodeImage, verify]) await assert.rejects(read(withChunks(text), limits), /damaged .*"tEXt"/);
});

test("EXIF of more than 64 kB is refused: to leave it out would turn the picture", async () => {
  await assert.rejects(decodeImage(withChunks(chunk("eXIf", Buffer.alloc(70_000))), limits), /70000 bytes of EXIF/);
});

/** A progressive JPEG whose last scan comes so many times. */
function jpegOfScans(scans: number): Buffer {
  const jpeg = fixture("420_progressive.jpg");
  const last = jpeg.lastIndexOf(Buffer.from([0xff, 0xda]));
  const before = jpeg.subarray(0, last);
  const [scan, end] = [jpeg.subarray(last, -2), jpeg.subarray(-2)];
  let already = 1;
  for (let at = before.indexOf(Buffer.from([0xff, 0xda])); at !== -1; already++) {
    at = before.indexOf(Buffer.from([0xff, 0xda]), at + 2);
  }
  return Buffer.concat([before, ...Array.from({ length: scans - already + 1 }, () => scan), end]);
}

test("a JPEG may have 100 scans, and no more", async () => {
  for (const read of [decodeImage, verify]) {
    await assert.rejects(read(jpegOfScans(101), limits), /the jpeg image has more than the 100 scans/);
    await assert.rejects(read(jpegOfScans(2646), limits), /the jpeg image has more than the 100 scans/);
  }
  assert.ok(stripJpeg(jpegOfScans(100)).length > 0);
});

test("profiles, comments and what follows the end are left out of a JPEG, and its picture is the same", async () => {
  const jpeg = fixture("420.jpg");
  const segment = (marker: number) =>
    Buffer.concat([Buffer.from([0xff, marker, 0xff, 0xff]), Buffer.alloc(65_533, 0xd9)]);
  const more = [0xe1, 0xe2, 0xed, 0xfe].flatMap((marker) => [segment(marker), segment(marker)]);
  const large = Buffer.concat([jpeg.subarray(0, 2), ...more, jpeg.subarray(2), Buffer.alloc(1000)]);
  assert.ok(stripJpeg(large).length <= jpeg.length);
  assert.deepEqual(await decodeImage(large, limits), await decodeImage(jpeg, limits));
});

for (const [format, strip] of [
  ["gif", stripGif],
  ["webp", stripWebp],
] as const) {
  test(`of a ${format} of many frames the decoder gets the first alone`, async () => {
    const frame = (i: number) =>
      sharp({ create: { width: 9, height: 7, channels: 3, background: i % 2 ? "red" : "teal" } });
    const frames = await Promise.all(Array.from({ length: 40 }, (_, i) => frame(i).png().toBuffer()));
    const many = await sharp(frames, { join: { animated: true } })
      [format]()
      .toBuffer();
    assert.equal((await sharp(many).metadata()).pages, 40);
    const [first, both] = await Promise.all([
      sharp(many, { page: 0 }).removeAlpha().raw().toBuffer(),
      decodeImage(many, limits),
    ]);
    assert.ok(strip(many).length < many.length / 4, `${strip(many).length} of ${many.length} bytes`);
    assert.deepEqual(Buffer.from(both.data), first);
    assert.deepEqual(strip(strip(many)), strip(many));
  });
}

test("a plain PNG is known to be whole without being decoded, and no damaged one is", async (t) => {
  const noise = Buffer.from(Array.from({ length: 3 * 64 * 64 }, (_, i) => (i * 2654435761) >>> 24));
  const whole = await sharp(noise, { raw: { width: 64, height: 64, channels: 3 } })
    .png()
    .toBuffer();
  assert.ok(isIntactPng(stripPng(whole)));
  let [random, refused] = [1, 0];
  for (let round = 0; round < 400; round++) {
    const damaged = Buffer.from(whole);
    random = (random * 48271) % 0x7fffffff;
    damaged[random % damaged.length]! ^= 1 << (round % 8);
    const isRefused = await decodeImage(damaged, limits).then(
      () => false,
      () => true,
    );
    if (isRefused) refused++;
    const isVerified = await verify(damaged, limits).then(
      () => true,
      () => false,
    );
    assert.equal(isVerified, !isRefused, `round ${round}`);
  }
  t.diagnostic(`${refused} of 400 damaged files refused by both`);
  assert.ok(refused > 350);
});

test("pixels that end too early, or a filter that there is not, are not taken for a whole PNG", async () => {
  const header = png.subarray(0, 33);
  const [width, height] = [png.readUInt32BE(16), png.readUInt32BE(20)];
  const file = (pixels: Buffer) =>
    Buffer.concat([header, chunk("IDAT", deflateSync(pixels)), chunk("IEND", Buffer.alloc(0))]);
  const pixels = Buffer.alloc(height * (1 + 3 * width));
  assert.ok(isIntactPng(file(pixels)));
  assert.ok(!isIntactPng(file(pixels.subarray(1))));
  assert.ok(!isIntactPng(file(Buffer.concat([pixels, Buffer.alloc(1)]))));
  pixels[1 + 3 * width] = 5;
  assert.ok(!isIntactPng(file(pixels)));
  await assert.rejects(verify(file(pixels), limits), /damaged or incomplete/);
});
