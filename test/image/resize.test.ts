import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { type ResizeMode, resizeModes } from "../../src/image/fit.ts";
import type { Pixels } from "../../src/image/pixels.ts";
import { type ResizeFilter, resize } from "../../src/image/resize.ts";
import { drawn, type Kind, type Size } from "./drawn.ts";

interface Case {
  kind: Kind;
  from: Size;
  to: Size;
  mode: ResizeMode;
  filter?: ResizeFilter;
  inside?: [x: number, y: number, width: number, height: number];
  sha256: string;
}
// Made by fixtures/make/resize.py, which draws the same pictures.
const reference: { cases: Case[]; bytes: string } = JSON.parse(
  readFileSync(new URL("../fixtures/image/resize.json", import.meta.url), "utf8"),
);

function cut({ width, data }: Pixels, x: number, y: number, w: number, h: number): Uint8Array {
  const rows = Array.from({ length: h }, (_, row) => data.subarray(((y + row) * width + x) * 3).subarray(0, w * 3));
  return Buffer.concat(rows);
}

for (const { kind, from, to, mode, filter, inside, sha256 } of reference.cases)
  test(`${filter ?? mode} of ${kind} ${from.join("×")} to ${to.join("×")} has Pillow's bytes`, () => {
    const picture = drawn(kind, from);
    const resized = filter === undefined ? resizeModes[mode](picture, ...to) : resize(picture, ...to, { filter });
    assert.deepEqual([resized.width, resized.height, resized.data.length], [...to, to[0] * to[1] * 3]);
    const compared = inside === undefined ? resized.data : cut(resized, ...inside);
    assert.equal(createHash("sha256").update(compared).digest("hex"), sha256);
  });

test("the worst difference from Pillow, byte by byte, is 0", (t) => {
  const expected = Buffer.from(reference.bytes, "hex");
  const { data } = resize(drawn("edges", [40, 48]), 24, 20);
  const worst = expected.reduce((most, byte, i) => Math.max(most, Math.abs(byte - data[i]!)), 0);
  t.diagnostic(`worst difference ${worst} of 255 over ${expected.length} bytes`);
  assert.equal(worst, 0);
});

test("a window of the result is that part of the whole result", () => {
  const image = drawn("edges", [50, 40]);
  for (const [width, height] of [
    [90, 70],
    [20, 30],
    [50, 70],
    [90, 40],
    [50, 40],
  ] as const) {
    const window = { x: 7, y: 11, width: 10, height: 17 };
    const whole = resize(image, width, height);
    assert.deepEqual(Buffer.from(resize(image, width, height, { window }).data), cut(whole, 7, 11, 10, 17));
  }
});

test("fill puts the middle of the border's colours around the picture", () => {
  const image = drawn("ramp", [30, 10]);
  image.data.fill(40, 0, 30 * 3); // the first row; the last one is brighter
  const filled = resizeModes.fill(image, 60, 60);
  const border = [
    ...cut(image, 0, 0, 30, 1),
    ...cut(image, 0, 9, 30, 1),
    ...cut(image, 0, 0, 1, 10),
    ...cut(image, 29, 0, 1, 10),
  ];
  const sorted = border.filter((_, i) => i % 3 === 0).sort((a, b) => a - b);
  const median = Math.floor((sorted[sorted.length / 2 - 1]! + sorted[sorted.length / 2]!) / 2);
  assert.deepEqual(new Set(cut(filled, 0, 0, 60, 20)), new Set([median]));
  assert.deepEqual(new Set(cut(filled, 0, 40, 60, 20)), new Set([median]));
});

test("a line one pixel high is cropped without making the picture it is cut from", () => {
  const cropped = resizeModes.crop(drawn("noise", [60_000, 1]), 512, 512); // in full it would be 30 720 000 × 512
  assert.deepEqual([cropped.width, cropped.height], [512, 512]);
});

test("a 12-megapixel photo becomes 512×512 well within a second", (t) => {
  const image = { width: 4000, height: 3000, data: new Uint8Array(4000 * 3000 * 3).fill(99) };
  resize(image, 64, 64); // compiles the loops
  const begin = performance.now();
  resize(image, 512, 512);
  const ms = performance.now() - begin;
  t.diagnostic(`${ms.toFixed(0)} ms`);
  assert.ok(ms < 2000, `${ms} ms`);
});
