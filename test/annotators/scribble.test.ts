import assert from "node:assert/strict";
import { test } from "node:test";
import { scribbleFromEdges } from "../../src/image/annotators/scribble-from-edges.ts";
import { greyPicture } from "../../src/image/grey-level.ts";

const SIDE = 40;
const map = (level: (x: number, y: number) => number) =>
  greyPicture(
    SIDE,
    SIDE,
    Uint8Array.from({ length: SIDE * SIDE }, (_, p) => level(p % SIDE, Math.floor(p / SIDE))),
  );
const at = ({ data }: { data: Uint8Array }, x: number, y: number) => data[3 * (y * SIDE + x)];

test("a soft edge becomes a line of white on black, a faint one nothing", () => {
  const line = scribbleFromEdges(map((x) => Math.max(255 - 12 * Math.abs(x - 20), 0)));
  assert.deepEqual(
    [0, 20, 39].map((x) => at(line, x, 20)),
    [0, 255, 0],
  );
  assert.ok(line.data.every((value) => value === 0 || value === 255));
  assert.ok(scribbleFromEdges(map((x) => (x === 20 ? 90 : 0))).data.every((value) => value === 0));
});

test("a plateau stays, as in the function that the maps were made with", () => {
  assert.ok(scribbleFromEdges(map(() => 255)).data.every((value) => value === 255));
});
