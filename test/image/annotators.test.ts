import assert from "node:assert/strict";
import { test } from "node:test";
import { AnnotationError } from "../../src/image/annotators/annotation-error.ts";
import { inpaint } from "../../src/image/annotators/inpaint.ts";
import { type AnnotatorInputOf, annotate } from "../../src/image/annotators.ts";
import { mapModes } from "../../src/image/map-modes.ts";
import type { Pixels } from "../../src/image/pixels.ts";
import { ANNOTATORS, type AnnotatorName } from "../../src/schema/annotators.ts";
import { drawn } from "./drawn.ts";

const ofPictures = Object.entries(ANNOTATORS).flatMap(([name, { input }]) =>
  input === "picture" || input === "depth" ? [name as Exclude<AnnotatorName, "inpaint" | "openpose_render">] : [],
);
const made = (name: (typeof ofPictures)[number], pixels: Pixels, params: object = {}) =>
  annotate(
    name as "canny",
    pixels as AnnotatorInputOf<"canny">,
    ANNOTATORS[name].params.parse(params) as never,
  ) as Pixels;

for (const name of ofPictures)
  test(`${name} with its defaults makes a map of the picture's size, and leaves the picture as it is`, () => {
    const pixels = drawn("noise", [80, 70]);
    const before = pixels.data.slice();
    const map = made(name, pixels);
    assert.deepEqual([map.width, map.height, map.data.length], [80, 70, 80 * 70 * 3]);
    assert.deepEqual(pixels.data, before);
  });

test("a picture of one pixel, one row or one column can be annotated", () => {
  for (const size of [
    [1, 1],
    [1, 90],
    [90, 1],
  ] as [number, number][])
    for (const name of ofPictures.filter((each) => each !== "color_grid")) {
      const map = made(name, drawn("noise", size));
      assert.deepEqual([map.width, map.height], size, name);
    }
});

test("pictures of any number of bytes, wherever in memory they begin, give each byte's own map", () => {
  for (let width = 1; width < 10; width++) {
    const { data } = drawn("noise", [width, 3]);
    const shifted = new Uint8Array(data.length + 1).subarray(1);
    shifted.set(data);
    const pixels = { width, height: 3, data: shifted };
    const inverse = data.map((value) => 255 - value);
    assert.deepEqual(made("invert", pixels).data, inverse);
    const grey = (p: number) =>
      (data[3 * p]! * 9798 + data[3 * p + 1]! * 19235 + data[3 * p + 2]! * 3735 + 16384) >> 15;
    const dark = data.map((_, i) => (grey(Math.floor(i / 3)) > 99 ? 0 : 255));
    assert.deepEqual(made("binary", pixels, { threshold: 99 }).data, dark);
    const most = data.map((_, i) => Math.max(...data.subarray(i - (i % 3), i - (i % 3) + 3)));
    assert.deepEqual(made("recolor_intensity", pixels).data, most);
  }
});

test("written over a picture that nobody else needs, a map is the same", () => {
  for (const width of [64, 67])
    for (const name of ofPictures)
      for (const start of [0, 1]) {
        const pixels = drawn("noise", [width, 65]);
        const bytes = new Uint8Array(pixels.data.length + start).subarray(start);
        bytes.set(pixels.data);
        const params = ANNOTATORS[name].params.parse({}) as never;
        const over = annotate(name as "canny", { ...pixels, data: bytes }, params, true);
        assert.deepEqual(over, made(name, pixels), `${name}, ${width} wide, from byte ${start}`);
      }
});

test("with detect_resolution the map is made at that size, and has the picture's", () => {
  const pixels = drawn("noise", [100, 80]);
  const map = made("canny", pixels, { detect_resolution: 64 });
  assert.deepEqual([map.width, map.height], [100, 80]);
  assert.notDeepEqual(map.data, made("canny", pixels).data);
});

test("a frame of a long strip shows its middle, and takes no memory for its ends", () => {
  const width = 100_001; // as high as the frame, all of it would have 12 billion bytes
  const data = new Uint8Array(3 * width).map((_, i) => 255 * ((Math.floor(i / 3) % 50_000) % 2));
  data.fill(128, 3 * 50_000, 3 * 50_001);
  const { data: shown } = mapModes.crop({ width, height: 1, data }, 200, 200);
  assert.equal(shown.length, 3 * 200 * 200);
  assert.ok(shown.every((value) => value === 128));
});

test("the same seed shuffles alike, another one otherwise", () => {
  const pixels = drawn("noise", [90, 70]);
  assert.deepEqual(made("shuffle", pixels, { seed: 7 }), made("shuffle", pixels, { seed: 7 }));
  assert.notDeepEqual(made("shuffle", pixels, { seed: 7 }).data, made("shuffle", pixels, { seed: 8 }).data);
});

test("what leaves no map is refused with the reason", () => {
  assert.throws(() => made("color_grid", drawn("noise", [63, 200])), {
    name: "AnnotationError",
    message: /63×200.*64/,
  });
  assert.throws(() => made("tile", drawn("noise", [7, 200]), { down_sampling_rate: 8 }), AnnotationError);
  assert.throws(() => inpaint(drawn("noise", [8, 8]), drawn("noise", [8, 9])), /mask has 8×9 pixels, the picture 8×8/);
});

test("a parameter out of range or unknown is refused by name", () => {
  const refused = (name: AnnotatorName, params: object) => ANNOTATORS[name].params.safeParse(params).error!.issues[0]!;
  assert.deepEqual(refused("canny", { low_threshold: 5000 }).path, ["low_threshold"]);
  assert.match(refused("canny", { low: 1 }).message, /low/);
  assert.deepEqual(refused("blur", { sigma: 0 }).path, ["sigma"]);
});
