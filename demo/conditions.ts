/**
 * npm run demo:conditions: docs/demo-conditions.png, the paper's conditions from one picture: the picture, the map that an annotator
 * makes of it for each of the demo's ControlNets, and under each map what another seed makes of it.
 */
import { join } from "node:path";
import sharp from "sharp";
import { DEMO_MODELS_DIR } from "../src/config/config.ts";
import type { Pixels } from "../src/image/pixels.ts";
import { ANNOTATORS, openAnnotated } from "./annotated.ts";
import { FIRST_UNSEEN_SEED } from "./dataset.ts";
import { openDemo } from "./models.ts";
import { SIDE } from "./world/landscape.ts";
import type { Condition } from "./world/maps.ts";
import { render } from "./world/render.ts";
import { scene } from "./world/scene.ts";

const CONDITIONS = Object.keys(ANNOTATORS) as Condition[];
const GAP = 4;
const COLUMNS = CONDITIONS.length + 1;
const SEED = 7;

/** The first scene that training never saw with one person, from near: it has something for every annotator. */
function chooseScene() {
  for (let seed = FIRST_UNSEEN_SEED; ; seed++) {
    const one = scene(seed);
    if (one.skeletons.length === 1 && one.caption.includes("from near")) return one;
  }
}

const one = chooseScene();
const picture = await render(one);
const demo = openDemo(DEMO_MODELS_DIR);
const annotated = openAnnotated();
const tiles: { input: Buffer; raw: { width: number; height: number; channels: 3 }; left: number; top: number }[] = [];
const put = ({ width, height, data }: Pixels, column: number, row: number) =>
  tiles.push({
    input: Buffer.from(data),
    raw: { width, height, channels: 3 },
    left: column * (SIDE + GAP),
    top: row * (SIDE + GAP),
  });
put(picture, 0, 0);
for (const [i, condition] of CONDITIONS.entries()) {
  const map = await annotated.map(condition, picture);
  put(map, i + 1, 0);
  put(await demo.draw({ prompt: one.caption, seed: SEED, controls: [{ condition, map }] }), i + 1, 1);
}
await demo.close();
await annotated.close();
const size = { width: COLUMNS * (SIDE + GAP) - GAP, height: 2 * (SIDE + GAP) - GAP, channels: 3 as const };
await sharp({ create: { ...size, background: "white" } })
  .composite(tiles)
  .png()
  .toFile(join(import.meta.dirname, "../docs/demo-conditions.png"));
console.log(`docs/demo-conditions.png: ${one.caption}`);
