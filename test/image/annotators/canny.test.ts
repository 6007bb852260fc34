import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { canny } from "../../../src/image/annotators/canny.ts";
import type { Pixels } from "../../../src/image/pixels.ts";

interface Case {
  kind: keyof typeof kinds;
  size: [width: number, height: number];
  low: number;
  high: number;
  white: number;
  sha256: string;
}
// Made by fixtures/make/canny.py, which draws the same pictures.
const { cases }: { cases: Case[] } = JSON.parse(
  readFileSync(new URL("../../fixtures/image/canny.json", import.meta.url), "utf8"),
);

function hash(i: number): number {
  let x = Math.imul(i, 0x9e3779b1);
  x = Math.imul(x ^ (x >>> 15), 0x85ebca77);
  return (x ^ (x >>> 13)) & 255;
}

function blurred(y: number, x: number, c: number): number {
  let sum = 0;
  for (let v = y; v < y + 3; v++)
    for (let u = x; u < x + 3; u++) sum += hash((Math.floor(v / 6) * 1000 + Math.floor(u / 6)) * 3 + c);
  return Math.floor(sum / 9);
}

const kinds = {
  noise: (y: number, x: number, c: number, width: number) => hash((y * width + x) * 3 + c),
  blobs: blurred,
};

function drawn(kind: keyof typeof kinds, width: number, height: number): Pixels {
  const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => {
    const pixel = Math.floor(i / 3);
    return kinds[kind](Math.floor(pixel / width), pixel % width, i % 3, width);
  });
  return { width, height, data };
}

for (const { kind, size, low, high, white, sha256 } of cases)
  test(`edges of ${kind} ${size.join("×")} between ${low} and ${high} are OpenCV's`, () => {
    const { width, height, data } = canny(drawn(kind, ...size), low, high);
    assert.deepEqual([width, height], size);
    const first = data.filter((_, i) => i % 3 === 0);
    assert.ok(data.every((value, i) => value === first[Math.floor(i / 3)]));
    assert.equal(first.reduce((sum, value) => sum + value, 0) / 255, white);
    assert.equal(createHash("sha256").update(first).digest("hex"), sha256);
  });
