/**
 * npm run bench demo-annotated: how much control is lost when the demo's maps are made of pictures by its annotators, on scenes with a
 * person that training never saw: each condition's measure under the exact map, the annotator's, and none; and the person's points.
 */
import { openAnnotated } from "../demo/annotated.ts";
import { FIRST_UNSEEN_SEED } from "../demo/dataset.ts";
import { MEASURES } from "../demo/follows.ts";
import { openDemo } from "../demo/models.ts";
import { type Condition, conditions } from "../demo/world/maps.ts";
import { render } from "../demo/world/render.ts";
import { type Scene, scene } from "../demo/world/scene.ts";
import { KEYPOINTS } from "../demo/world/skeleton.ts";
import { DEMO_MODELS_DIR } from "../src/config/config.ts";
import type { Pixels } from "../src/image/pixels.ts";
import { printTable } from "./table.ts";

const SCENES = 24;
const READ: readonly Condition[] = ["pose", "segmentation", "normal", "depth"];

/** Scenes that show so many people, of those that training never saw. */
export function unseen(count: number, people: 0 | 1): Scene[] {
  const found: Scene[] = [];
  for (let seed = FIRST_UNSEEN_SEED; found.length < count; seed++) {
    const one = scene(seed);
    if (one.skeletons.length === people) found.push(one);
  }
  return found;
}

type Annotated = ReturnType<typeof openAnnotated>;

/** How far points are from where they are, in pixels of the picture and as shares of the person's height; missing ones count as far away. */
export async function pointErrors(
  { people }: Annotated,
  scenes: readonly Scene[],
): Promise<[pixels: number, share: number][]> {
  const errors: [number, number][] = [];
  for (const one of scenes) {
    const [found] = await people(await render(one));
    const [skeleton] = one.skeletons;
    const ys = KEYPOINTS.map((name) => skeleton![name][1]);
    const height = Math.max(...ys) - Math.min(...ys);
    for (const [k, name] of KEYPOINTS.entries()) {
      const point = found?.body[k] ?? null;
      const [x, y] = skeleton![name];
      const far = point === null ? height : Math.hypot(point.x - x, point.y - y);
      errors.push([far, far / height]);
    }
  }
  return errors;
}

/** The share of points within so much of a person's height: PCK. */
export const within = (errors: readonly (readonly [number, number])[], share: number) =>
  errors.filter(([, far]) => far <= share).length / errors.length;

export async function run(): Promise<void> {
  const [demo, annotated] = [openDemo(DEMO_MODELS_DIR), openAnnotated()];
  const scenes = unseen(SCENES, 1);
  const errors = await pointErrors(annotated, scenes);
  const middle = errors.map(([pixels]) => pixels).sort((a, b) => a - b)[Math.floor(errors.length / 2)]!;
  const shares = [0.05, 0.1].map(
    (share) => `${(100 * within(errors, share)).toFixed(0)} % within ${share} of the height`,
  );
  const nobody = unseen(SCENES, 0);
  let wrong = 0;
  for (const one of nobody) wrong += (await annotated.people(await render(one))).length;
  console.log(
    `points: ${middle.toFixed(1)} px in the middle, ${shares.join(", ")}; somebody in ${wrong} of ${SCENES} empty scenes`,
  );

  const draw = async (condition: Condition, maps: readonly (Pixels | null)[]) => {
    const pictures: Pixels[] = [];
    for (const [i, { caption, seed }] of scenes.entries()) {
      const map = maps[i]!;
      const controls = map === null ? [] : [{ condition, map }];
      pictures.push(await demo.draw({ prompt: caption, seed, controls }));
    }
    return pictures;
  };
  const plain = await draw(
    "pose",
    scenes.map(() => null),
  );
  const rows: string[][] = [];
  for (const condition of READ) {
    const exact = await Promise.all(scenes.map(conditions[condition]));
    const made: Pixels[] = [];
    for (const one of scenes) made.push(await annotated.map(condition, await render(one)));
    const { name, best, read } = MEASURES[condition];
    const figure = async (pictures: readonly Pixels[]) => (await read(pictures, exact, scenes))().toFixed(2);
    rows.push([
      ...[condition, `${name} (${best} is good)`],
      ...[await figure(await draw(condition, exact)), await figure(await draw(condition, made)), await figure(plain)],
    ]);
  }
  printTable(["condition", "measure", "exact map", "annotator's map", "without"], rows);
  await demo.close();
  await annotated.close();
}
