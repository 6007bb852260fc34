/** The demo's annotators: what its networks read off pictures of scenes that training never saw, beside the exact maps. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, test } from "node:test";
import { pointErrors, unseen, within } from "../../bench/demo-annotated.ts";
import { openAnnotated } from "../../demo/annotated.ts";
import { FIRST_UNSEEN_SEED } from "../../demo/dataset.ts";
import { meanDifference } from "../../demo/measures.ts";
import { surfaceMaps, visibleParts } from "../../demo/world/maps.ts";
import { render } from "../../demo/world/render.ts";
import { scene } from "../../demo/world/scene.ts";
import { loadFolder, networkMaps } from "../../src/annotators/annotate.ts";
import { openAnnotators } from "../../src/annotators/library.ts";
import { DEMO_MODELS_DIR } from "../../src/config/config.ts";
import { chooseAnnotator } from "../../src/schema/annotator-choice.ts";
import { CPU, openSession, type Session } from "../../workers/runtime/runtime.ts";

const library = openAnnotators(join(DEMO_MODELS_DIR, "annotators"));
const sessions = new Map<string, Promise<Session>>();
after(async () => {
  for (const session of sessions.values()) await (await session).release();
});

function load(name: string) {
  const opened = library.folders.get(name)!;
  return loadFolder(opened, (part) => async (feeds) => {
    const session = sessions.get(name) ?? openSession(opened.networks[part]!.graph(), CPU);
    sessions.set(name, session);
    return (await session).run(feeds);
  });
}

const scenes = Array.from({ length: 8 }, (_, i) => scene(FIRST_UNSEEN_SEED + i));

test("every folder of the demo's annotators can be used", () => {
  assert.deepEqual(library.skipped, []);
  assert.deepEqual([...library.folders.keys()], ["demo-classes", "demo-points", "demo-surfaces"]);
});

for (const [kind, name, folder, most] of [
  ["depth", "depth", "demo-surfaces", 30],
  ["normal", "normal_metric3d", "demo-surfaces", 40],
  ["segmentation", "segmentation", "demo-classes", 10],
] as const)
  test(`${kind} is read off pictures, nearly as it is`, async (t) => {
    const loaded = load(folder);
    const differences: number[] = [];
    for (const one of scenes) {
      const { params } = chooseAnnotator(name);
      const { map } = await networkMaps[name](await render(one), loaded, params as never);
      differences.push(meanDifference(map, surfaceMaps[kind](one, await visibleParts(one.parts))));
    }
    const mean = differences.reduce((sum, value) => sum + value, 0) / differences.length;
    t.diagnostic(`mean difference ${mean.toFixed(1)} of 255`);
    assert.ok(mean < most, `${mean}`);
  });

test("a person's points are found, and nobody where nobody is", async (t) => {
  const annotated = openAnnotated();
  const errors = await pointErrors(annotated, unseen(12, 1));
  let somebody = 0;
  for (const one of unseen(8, 0)) somebody += (await annotated.people(await render(one))).length;
  await annotated.close();
  const share = within(errors, 0.1);
  t.diagnostic(`${(100 * share).toFixed(1)} % within a tenth of the person's height; ${somebody} of 8 empty scenes`);
  assert.ok(share > 0.8);
  assert.ok(somebody <= 1);
});
