/**
 * npm run demo:conditions: docs/demo-conditions.png, the paper's conditions from one picture: the picture, the map that an annotator
 * makes of it (the pose of key points) for each of the demo's ControlNets, and under each map what another prompt makes of it.
 */
import { join } from "node:path";
import sharp from "sharp";
import { loadFolder, networkMaps } from "../src/annotators/annotate.ts";
import { openAnnotatorFolder } from "../src/annotators/folder.ts";
import { DEMO_MODELS_DIR } from "../src/config/config.ts";
import { annotate } from "../src/image/annotators.ts";
import { fitMap } from "../src/image/map-fit.ts";
import type { Pixels } from "../src/image/pixels.ts";
import { chooseAnnotator, isNetworkChoice } from "../src/schema/annotator-choice.ts";
import type { PoseJson } from "../src/schema/pose.ts";
import { CPU, openSession, type Session } from "../workers/runtime/runtime.ts";
import { FIRST_UNSEEN_SEED } from "./dataset.ts";
import { openDemo } from "./models.ts";
import { SIDE } from "./world/landscape.ts";
import type { Condition } from "./world/maps.ts";
import { render } from "./world/render.ts";
import { type Scene, scene } from "./world/scene.ts";
import { KEYPOINTS } from "./world/skeleton.ts";

/** For each ControlNet the annotator, and the folder of its network where it has one. */
const ANNOTATORS: readonly (readonly [Condition, name: string, params: object, folder?: string])[] = [
  ["canny", "canny", {}],
  ["hough_lines", "hough_lines", { threshold: 12, min_line_length: 8, max_line_gap: 3 }],
  ["scribble", "scribble_xdog", { threshold: 24 }],
  ["lineart", "lineart_standard", { gaussian_sigma: 2, intensity_threshold: 3 }],
  ["pose", "openpose_render", {}],
  ["segmentation", "segmentation", {}, "demo-classes"],
  ["normal", "normal_metric3d", {}, "demo-surfaces"],
  ["depth", "depth", {}, "demo-surfaces"],
];
const GAP = 4;
const COLUMNS = ANNOTATORS.length + 1;
const SEED = 7;

/** The first scene that training never saw with one person, from near: it has something for every annotator. */
function chooseScene() {
  for (let seed = FIRST_UNSEEN_SEED; ; seed++) {
    const one = scene(seed);
    if (one.skeletons.length === 1 && one.caption.includes("from near")) return one;
  }
}

/** Skeletons are drawn so much larger and then made smaller: as thin as those that the ControlNet was trained with. */
const POSE_SCALE = 2.5;

/** The person's key points as a request says them: no network of the demo finds them. */
function poseOf({ skeletons }: Scene): PoseJson {
  const people = skeletons.map((skeleton) => ({
    pose_keypoints_2d: KEYPOINTS.flatMap((name) => [...skeleton[name].map((value) => POSE_SCALE * value), 1]),
    hand_left_keypoints_2d: null,
    hand_right_keypoints_2d: null,
    face_keypoints_2d: null,
  }));
  return { people, canvas_width: POSE_SCALE * SIDE, canvas_height: POSE_SCALE * SIDE };
}

async function mapOf(picture: Pixels, name: string, params: object, folder?: string): Promise<Pixels> {
  const choice = chooseAnnotator(name, params);
  if (choice.name === "openpose_render") return annotate(choice.name, poseOf(one), choice.params);
  if (!isNetworkChoice(choice)) return annotate(choice.name as "canny", picture, choice.params as never);
  const opened = openAnnotatorFolder(join(DEMO_MODELS_DIR, "annotators", folder!));
  const sessions: Session[] = [];
  const loaded = loadFolder(opened, (part) => async (feeds) => {
    const session = await openSession(opened.networks[part]!.graph(), CPU);
    sessions.push(session);
    return session.run(feeds);
  });
  const { map } = await networkMaps[choice.name](picture, loaded, choice.params as never);
  for (const session of sessions) await session.release();
  return map;
}

const one = chooseScene();
const picture = await render(one);
const demo = openDemo(DEMO_MODELS_DIR);
const tiles: { input: Buffer; raw: { width: number; height: number; channels: 3 }; left: number; top: number }[] = [];
const put = ({ width, height, data }: Pixels, column: number, row: number) =>
  tiles.push({
    input: Buffer.from(data),
    raw: { width, height, channels: 3 },
    left: column * (SIDE + GAP),
    top: row * (SIDE + GAP),
  });
put(picture, 0, 0);
for (const [i, [condition, name, params, folder]] of ANNOTATORS.entries()) {
  const map = fitMap(await mapOf(picture, name, params, folder), SIDE, SIDE);
  put(map, i + 1, 0);
  put(await demo.draw({ prompt: one.caption, seed: SEED, controls: [{ condition, map }] }), i + 1, 1);
}
await demo.close();
const size = { width: COLUMNS * (SIDE + GAP) - GAP, height: 2 * (SIDE + GAP) - GAP, channels: 3 as const };
await sharp({ create: { ...size, background: "white" } })
  .composite(tiles)
  .png()
  .toFile(join(import.meta.dirname, "../docs/demo-conditions.png"));
console.log(`docs/demo-conditions.png: ${one.caption}`);
