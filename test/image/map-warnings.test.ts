import assert from "node:assert/strict";
import { test } from "node:test";
import { annotate } from "../../src/image/annotators.ts";
import { lookAt, mapWarnings } from "../../src/image/map-warnings.ts";
import type { Pixels } from "../../src/image/pixels.ts";
import { ANNOTATORS } from "../../src/schema/annotators.ts";
import type { MapKind } from "../../src/schema/map-kinds.ts";
import { drawn } from "./drawn.ts";

const SIDE = 64;
function painted(colour: (x: number, y: number) => readonly [number, number, number]): Pixels {
  const data = new Uint8Array(SIDE * SIDE * 3);
  for (let p = 0; p < SIDE * SIDE; p++) data.set(colour(p % SIDE, Math.floor(p / SIDE)), p * 3);
  return { width: SIDE, height: SIDE, data };
}
const warningsOf = (map: Pixels, kind: MapKind) => mapWarnings(lookAt(map)!, kind);
const grey = (level: number) => [level, level, level] as const;
const lines = painted((x) => grey(x % 16 === 0 ? 255 : 0));
const ramp = painted((x) => grey(4 * x));
const regions = painted((x) => (x < 32 ? [120, 120, 120] : [4, 200, 3]));

test("maps as their ControlNets know them give no warning", () => {
  assert.deepEqual(warningsOf(lines, "canny"), []);
  assert.deepEqual(warningsOf(ramp, "depth"), []);
  assert.deepEqual(warningsOf(regions, "segmentation"), []);
  assert.deepEqual(warningsOf(drawn("noise", [SIDE, SIDE]), "tile"), []);
});

for (const [what, map, kind, says] of [
  [
    "black lines on white",
    annotate("invert", lines, ANNOTATORS.invert.params.parse({})),
    "scribble",
    /white lines on black.*invert/,
  ],
  ["a photo for edges", drawn("noise", [SIDE, SIDE]), "canny", /colors where only gray/],
  ["shades of gray for edges", ramp, "canny", /gray where only black and white/],
  ["edges for depth", lines, "depth", /shades of gray are expected/],
  ["a photo for depth", drawn("noise", [SIDE, SIDE]), "depth", /colors where only gray/],
  ["grey for normals", ramp, "normal", /gray where colors/],
  ["a photo for regions", painted((x, y) => [4 * x, 4 * y, 2 * x + y]), "segmentation", /too many colors/],
  ["nothing at all", painted(() => grey(0)), "pose", /all of one color/],
] as const)
  test(`${what} is warned of`, () => {
    assert.match(warningsOf(map, kind).join("; "), says);
  });
