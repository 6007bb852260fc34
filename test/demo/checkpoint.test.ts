/** What the shipped demo means: few scenes, wide bounds; `npm run bench demo` has the figures. */
import assert from "node:assert/strict";
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { FIRST_UNSEEN_SEED } from "../../demo/dataset.ts";
import { MEASURES } from "../../demo/follows.ts";
import { f1, mean, meanDifference } from "../../demo/measures.ts";
import { openDemo } from "../../demo/models.ts";
import { CONDITIONS, type Condition, conditions, EDGE_THRESHOLDS } from "../../demo/world/maps.ts";
import { scene } from "../../demo/world/scene.ts";
import { DEMO_MODELS_DIR } from "../../src/config/config.ts";
import { canny } from "../../src/image/annotators/canny.ts";
import type { Pixels } from "../../src/image/pixels.ts";
import { openLibrary } from "../../workers/generate/library.ts";

const demo = openDemo(DEMO_MODELS_DIR);
after(() => demo.close());

/** With them things far and near, one of them a person. */
const scenes = [0, 3, 5, 6].map((i) => scene(FIRST_UNSEEN_SEED + i));
const brightness = ({ data }: Pixels) => mean([...data]);

/** The scenes' pictures, each under its map. */
async function pictures(condition: Condition | null, maps: readonly Pixels[]): Promise<Pixels[]> {
  const drawn: Pixels[] = [];
  for (const [i, { caption, seed }] of scenes.entries()) {
    const controls = condition === null ? [] : [{ condition, map: maps[i]! }];
    drawn.push(await demo.draw({ prompt: caption, seed, controls }));
  }
  return drawn;
}

test("a base with a ControlNet for every map is shipped, in at most 25 MB", () => {
  const { catalog } = openLibrary(DEMO_MODELS_DIR);
  assert.equal(catalog.models[0]!.trainable, false, "nothing is written into what is shipped");
  assert.deepEqual(catalog.skipped, []);
  assert.deepEqual(catalog.controlnets.map(({ id }) => id).sort(), [...CONDITIONS].sort());
  const names = readdirSync(DEMO_MODELS_DIR, { recursive: true, encoding: "utf8" });
  const files = names.map((name) => statSync(join(DEMO_MODELS_DIR, name))).filter((file) => file.isFile());
  assert.ok(files.reduce((sum, { size }) => sum + size, 0) < 25e6);
});

/** How many times better each condition's measure must be with control than without. */
const BETTER: Readonly<Record<Condition, number>> = {
  canny: 2,
  hough_lines: 1.2,
  scribble: 1.2,
  pose: 1.2,
  segmentation: 1.2,
  normal: 1.2,
  depth: 1.2,
  lineart: 1.2,
};

test("each ControlNet's map is followed: better than without it", async (t) => {
  const plain = await pictures(null, []);
  for (const condition of CONDITIONS) {
    await t.test(condition, async (t) => {
      const maps = await Promise.all(scenes.map(conditions[condition]));
      const { name, best, read } = MEASURES[condition];
      const controlled = (await read(await pictures(condition, maps), maps, scenes))();
      const without = (await read(plain, maps, scenes))();
      t.diagnostic(`${name} ${controlled.toFixed(2)}, without control ${without.toFixed(2)} (${best} is good)`);
      const better = best === "high" ? controlled / without : without / controlled;
      assert.ok(better > BETTER[condition], `${better.toFixed(2)} times`);
    });
  }
});

test("under the same edges the words still say what hour it is", async () => {
  const [one] = scenes as [(typeof scenes)[0]];
  const map = await conditions.canny(one);
  const words = one.caption.replace(/(the sun, )?(on \w+), .*/, "$2"); // the sun's word says what hour it is, too
  const at = (hour: string) =>
    demo.draw({ prompt: `${words}, ${hour}`, seed: 1, controls: [{ condition: "canny", map }] });
  const [day, night] = [await at("by day"), await at("at night")];
  assert.ok(
    brightness(day) > brightness(night) + 40,
    `"${words}": ${brightness(day)} by day, ${brightness(night)} at night`,
  );
  for (const picture of [day, night]) {
    const followed = f1(canny(picture, ...EDGE_THRESHOLDS), map, 2);
    assert.ok(followed > 0.6, `edge F1 ${followed}`);
  }
});

test("at scale 0 a ControlNet changes not one byte; at 1 it does", async () => {
  const [one] = scenes as [(typeof scenes)[0]];
  const map = await conditions.canny(one);
  const draw = (scale: number | null) =>
    demo.draw({
      prompt: one.caption,
      seed: 1,
      controls: scale === null ? [] : [{ condition: "canny", map, scale }],
    });
  const plain = await draw(null);
  assert.deepEqual(await draw(0), plain);
  assert.ok(meanDifference(await draw(1), plain) > 1);
});
