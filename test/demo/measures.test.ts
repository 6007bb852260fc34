import assert from "node:assert/strict";
import { test } from "node:test";
import { coloursAnywhere, coloursAtPlace, f1, meanDifference, meanIou, recall } from "../../demo/measures.ts";
import { SIDE } from "../../demo/world/landscape.ts";
import { conditions } from "../../demo/world/maps.ts";
import { render } from "../../demo/world/render.ts";
import { scene } from "../../demo/world/scene.ts";
import type { Pixels } from "../../src/image/pixels.ts";

const [one, other] = [scene(3_000_009), scene(3_000_002)];
const grey: Pixels = { width: SIDE, height: SIDE, data: new Uint8Array(3 * SIDE * SIDE).fill(110) };
const mean = (list: readonly boolean[]) => list.filter(Boolean).length / list.length;

/** White where x is `column`. */
function upright(column: number): Pixels {
  const data = new Uint8Array(3 * SIDE * SIDE);
  for (let y = 0; y < SIDE; y++) {
    data.fill(255, 3 * (y * SIDE + column), 3 * (y * SIDE + column) + 3);
  }
  return { width: SIDE, height: SIDE, data };
}

test("lines are the same within the reach and not beyond it", () => {
  assert.equal(f1(upright(50), upright(52), 2), 1);
  assert.equal(f1(upright(50), upright(53), 2), 0);
  const both = { ...upright(50), data: upright(50).data.map((value, i) => Math.max(value, upright(90).data[i]!)) };
  assert.equal(recall(upright(50), both, 2), 1);
  assert.equal(recall(both, upright(50), 2), 0.5);
  assert.equal(f1(both, upright(50), 2), 2 / 3);
  assert.equal(f1(both, { ...grey, data: new Uint8Array(grey.data.length) }, 2), 0, "nothing is found on black");
});

test("a scene's own picture has its layout and its colours; another scene's and a grey one have not", async () => {
  const [own, strange] = [await render(one), await render(other)];
  assert.ok((await meanIou(own, one)) > 0.85, `${await meanIou(own, one)}`);
  assert.ok((await meanIou(strange, one)) < 0.4, `${await meanIou(strange, one)}`);
  assert.equal(mean(await coloursAtPlace(own, one)), 1);
  assert.equal(mean(coloursAnywhere(own, one)), 1);
  assert.ok(mean(await coloursAtPlace(grey, one)) < 1);
  assert.equal(mean(coloursAnywhere(grey, one)), 0);
});

test("maps differ by their pixels' mean distance", async () => {
  const [a, b] = [await conditions.depth(one), await conditions.depth(other)];
  assert.equal(meanDifference(a, a), 0);
  assert.ok(meanDifference(a, b) > 3);
});
