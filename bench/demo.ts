/**
 * npm run bench demo [-- MODELS_DIR [SCENES]]: how well the demo checkpoint follows control maps and prompts, on scenes that training
 * never saw. For each condition its own measure: with control, without, and of the scene's picture through the VAE and back, which
 * bounds what the model can draw (the paper, arXiv 2302.05543, table 2, has such a bound).
 */
import { join } from "node:path";
import { FIRST_UNSEEN_SEED } from "../demo/dataset.ts";
import {
  classOverlaps,
  coloursAnywhere,
  coloursAtPlace,
  f1,
  meanDifference,
  meanIou,
  readParts,
  recall,
} from "../demo/measures.ts";
import { type Control, openDemo } from "../demo/models.ts";
import { DEMO_TRAIN_DIR } from "../demo/plan.ts";
import { CONDITIONS, type Condition, conditions, EDGE_THRESHOLDS, surfaceMaps } from "../demo/world/maps.ts";
import { render } from "../demo/world/render.ts";
import { type Scene, scene } from "../demo/world/scene.ts";
import { canny } from "../src/image/annotators/canny.ts";
import type { Pixels } from "../src/image/pixels.ts";

const [dir = join(DEMO_TRAIN_DIR, "models"), count = "64"] = process.argv.slice(2).filter((word) => word !== "--");
const SCENES = Array.from({ length: Number(count) }, (_, i) => scene(FIRST_UNSEEN_SEED + i));

interface Measure {
  readonly name: string;
  /** What is better. */
  readonly best: "high" | "low";
  readonly of: (picture: Pixels, map: Pixels, scene: Scene) => Promise<number>;
}

const edges = (picture: Pixels) => canny(picture, ...EDGE_THRESHOLDS);
const surface =
  (kind: "depth" | "normal"): Measure["of"] =>
  async (picture, map, one) =>
    meanDifference(surfaceMaps[kind](one, await readParts(picture, one)), map);

const MEASURES: Readonly<Record<Condition, Measure>> = {
  canny: { name: "edge F1, 2 px", best: "high", of: async (picture, map) => f1(edges(picture), map, 2) },
  hough_lines: { name: "lines found, 2 px", best: "high", of: async (picture, map) => recall(map, edges(picture), 2) },
  scribble: { name: "edge F1, 3 px", best: "high", of: async (picture, map) => f1(edges(picture), map, 3) },
  pose: {
    name: "IoU of people",
    best: "high",
    of: async (picture, _, one) => (await classOverlaps(picture, one)).get("person") ?? Number.NaN,
  },
  segmentation: { name: "mean IoU", best: "high", of: (picture, _, one) => meanIou(picture, one) },
  normal: { name: "mean difference", best: "low", of: surface("normal") },
  depth: { name: "mean difference", best: "low", of: surface("depth") },
  lineart: { name: "edge F1, 2 px", best: "high", of: async (picture, map) => f1(edges(picture), map, 2) },
};

/** Mean of the numbers; a scene without people has no IoU of people. */
function mean(values: readonly number[]): number {
  const known = values.filter((value) => !Number.isNaN(value));
  return known.reduce((sum, value) => sum + value, 0) / known.length;
}

const demo = openDemo(dir);
const trained = CONDITIONS.filter((condition) => demo.conditions.includes(condition));
const maps = await Promise.all(
  SCENES.map(async (one) =>
    Object.fromEntries(
      await Promise.all(trained.map(async (condition) => [condition, await conditions[condition](one)] as const)),
    ),
  ),
);
const mapOf = (i: number, condition: Condition): Pixels => maps[i]![condition]!;

/** A picture for every scene. @param choose the controls of scene i */
async function draw(choose: (i: number) => readonly Control[], { empty = false } = {}): Promise<Pixels[]> {
  const pictures: Pixels[] = [];
  for (const [i, { caption, seed }] of SCENES.entries()) {
    pictures.push(await demo.draw({ prompt: empty ? "" : caption, seed, controls: choose(i), guess_mode: empty }));
  }
  return pictures;
}

const measure = async (condition: Condition, pictures: readonly Pixels[]) =>
  mean(
    await Promise.all(pictures.map((picture, i) => MEASURES[condition].of(picture, mapOf(i, condition), SCENES[i]!))),
  );

/** The share of named colours that are found: at their places, and anywhere. */
async function colours(pictures: readonly Pixels[]): Promise<readonly [number, number]> {
  const at = (await Promise.all(pictures.map((picture, i) => coloursAtPlace(picture, SCENES[i]!)))).flat();
  const any = pictures.flatMap((picture, i) => coloursAnywhere(picture, SCENES[i]!));
  return [mean(at.map(Number)), mean(any.map(Number))];
}

const row = (...cells: (string | number)[]) =>
  console.log(`| ${cells.map((cell) => (typeof cell === "number" ? cell.toFixed(2) : cell)).join(" | ")} |`);
function table(...heads: string[]): void {
  console.log("");
  row(...heads);
  row(...heads.map(() => "---"));
}

const originals = await Promise.all(SCENES.map(render));
const through: Pixels[] = [];
for (const picture of originals) {
  through.push(await demo.reconstruct(picture));
}
const squares = mean(
  originals.map(({ data }, i) => mean(Array.from(data, (value, k) => (value - through[i]!.data[k]!) ** 2))),
);
console.log(`VAE: ${(10 * Math.log10(255 ** 2 / squares)).toFixed(1)} dB`);

const started = performance.now();
const plain = await draw(() => []);
console.log(`a picture without control: ${((performance.now() - started) / 1000 / SCENES.length).toFixed(2)} s`);

const single = new Map<Condition, Pixels[]>();
table("condition", "measure", "with control", "without", "VAE", "colours at their place", "colours anywhere");
row("none", "", "", "", "", ...(await colours(plain)));
for (const condition of trained) {
  const pictures = await draw((i) => [{ condition, map: mapOf(i, condition) }]);
  single.set(condition, pictures);
  const { name, best } = MEASURES[condition];
  const values = [
    await measure(condition, pictures),
    await measure(condition, plain),
    await measure(condition, through),
  ];
  row(condition, `${name} (${best} is good)`, ...values, ...(await colours(pictures)));
}
row("(VAE)", "", "", "", "", ...(await colours(through)));

const GUESSED: readonly Condition[] = ["canny", "segmentation"];
table("empty prompt, guess mode", "with control", "without");
const emptyPlain = await draw(() => [], { empty: true });
for (const condition of GUESSED.filter((one) => trained.includes(one))) {
  const pictures = await draw((i) => [{ condition, map: mapOf(i, condition) }], { empty: true });
  row(condition, await measure(condition, pictures), await measure(condition, emptyPlain));
}

const TOGETHER: readonly (readonly Condition[])[] = [
  ["canny", "segmentation"],
  ["pose", "depth"],
  ["scribble", "segmentation", "depth"],
];
table("together", "on the measure of", "together", "alone");
for (const group of TOGETHER.filter((all) => all.every((one) => trained.includes(one)))) {
  const pictures = await draw((i) => group.map((condition) => ({ condition, map: mapOf(i, condition) })));
  for (const condition of group) {
    row(
      group.join(" + "),
      condition,
      await measure(condition, pictures),
      await measure(condition, single.get(condition)!),
    );
  }
}

table("conditioning_scale", ...trained);
for (const scale of [0.5, 1, 1.5]) {
  const values: number[] = [];
  for (const condition of trained) {
    values.push(await measure(condition, await draw((i) => [{ condition, map: mapOf(i, condition), scale }])));
  }
  row(String(scale), ...values);
}

for (const condition of trained) {
  const [{ caption, seed }] = SCENES as [Scene];
  const without = await demo.draw({
    prompt: caption,
    seed,
    controls: [{ condition, map: mapOf(0, condition), scale: 0 }],
  });
  const same = Buffer.from(without.data).equals(Buffer.from(plain[0]!.data));
  console.log(`${condition} at scale 0: ${same ? "the base's picture, byte for byte" : "NOT the base's picture"}`);
}
await demo.close();
