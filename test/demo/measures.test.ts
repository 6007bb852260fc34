import assert from "node:assert/strict";
import { test } from "node:test";
import {
  coloursAnywhere,
  coloursAtPlace,
  f1,
  iou,
  layoutShare,
  meanDifference,
  meanIou,
  readOverlaps,
  recall,
} from "../../demo/measures.ts";
import { readClasses } from "../../demo/reader.ts";
import { SIDE } from "../../demo/world/landscape.ts";
import { visibleParts } from "../../demo/world/maps.ts";
import { CLASSES } from "../../demo/world/part.ts";
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
  const overlap = async (picture: Pixels) => meanIou(await readOverlaps([picture], [one]));
  assert.ok((await overlap(own)) > 0.7, `${await overlap(own)}`);
  assert.ok((await overlap(strange)) < 0.4, `${await overlap(strange)}`);
  assert.equal(mean(await coloursAtPlace(own, one)), 1);
  assert.equal(mean(coloursAnywhere(own, one)), 1);
  assert.ok(mean(await coloursAtPlace(grey, one)) < 0.5);
  assert.equal(mean(coloursAnywhere(grey, one)), 0);
});

test("classes are read off pictures that the reader never saw, nearly as they are", async () => {
  const scenes = Array.from({ length: 24 }, (_, i) => scene(3_000_000 + i));
  const pictures = await Promise.all(scenes.map(render));
  const overlaps = await readOverlaps(pictures, scenes);
  assert.ok(meanIou(overlaps) > 0.85, `${meanIou(overlaps)}`);
  for (const kind of CLASSES) {
    assert.ok(iou(overlaps, kind) > 0.6, `${kind}: ${iou(overlaps, kind)}`);
  }
});

test("over several scenes, the pixels of a class count alike, in whichever picture they are", async () => {
  const scenes = [one, other];
  const pictures = [await render(one), grey];
  const read = await readClasses(pictures);
  let [both, either] = [0, 0];
  for (const [i, { parts }] of scenes.entries()) {
    (await visibleParts(parts)).forEach((part, p) => {
      const is = [parts[part]!.class, read[i]![p]].map((kind) => kind === "sky");
      both += Number(is[0] && is[1]);
      either += Number(is[0] || is[1]);
    });
  }
  const overlaps = await readOverlaps(pictures, scenes);
  assert.equal(iou(overlaps, "sky"), both / either);
  const classes = CLASSES.map((kind) => iou(overlaps, kind)).filter((value) => value >= 0);
  assert.equal(meanIou(overlaps), classes.reduce((sum, value) => sum + value) / classes.length);
  assert.ok(both > 0 && both < either);
});

test("the layout is there in whichever colours, and not in another scene's picture", async () => {
  const own = await render(one);
  const turned = { ...own, data: own.data.map((value) => 255 - value) };
  assert.ok((await layoutShare(own, one)) > 0.9, `${await layoutShare(own, one)}`);
  assert.ok(Math.abs((await layoutShare(turned, one)) - (await layoutShare(own, one))) < 1e-9);
  assert.ok((await layoutShare(await render(other), one)) < 0.8, `${await layoutShare(await render(other), one)}`);
  assert.equal(await layoutShare(grey, one), 0);
});

test("maps differ by their pixels' mean distance", () => {
  const lighter = { ...grey, data: grey.data.map((value) => value + 10) };
  assert.equal(meanDifference(grey, grey), 0);
  assert.equal(meanDifference(grey, lighter), 10);
});
