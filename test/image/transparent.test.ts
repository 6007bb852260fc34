/** How much of a picture is transparent, told by its alpha in whatever depth it has. */
import assert from "node:assert/strict";
import { test } from "node:test";
import sharp from "sharp";
import { transparentShare } from "../../src/image/decode.ts";

const LIMITS = { maxPixels: 1e6 };
/** A quarter of it opaque black, the rest clear white. */
const drawn = () =>
  sharp(
    Buffer.from(
      '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40" shape-rendering="crispEdges"><path d="M0 0h20v20H0z"/></svg>',
    ),
  );

for (const [name, bytes, share] of [
  ["a PNG with alpha", drawn().png(), 0.75],
  ["a PNG with a palette", drawn().png({ palette: true }), 0.75],
  ["a PNG of 16 bits", drawn().toColourspace("rgb16").png(), 0.75],
  ["a grey PNG with alpha", drawn().toColourspace("b-w").png(), 0.75],
  ["a WebP", drawn().webp({ lossless: true }), 0.75],
  ["a GIF", drawn().gif(), 0.75],
  ["a PNG whose alpha is opaque", drawn().flatten({ background: "white" }).ensureAlpha().png(), 0],
  ["a PNG without alpha", drawn().flatten({ background: "white" }).png(), 0],
  ["a JPEG", drawn().jpeg(), 0],
] as const) {
  test(`${name}: ${share}`, async () => {
    assert.equal(await transparentShare(await bytes.toBuffer(), LIMITS), share);
  });
}
