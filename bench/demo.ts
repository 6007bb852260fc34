/**
 * npm run bench demo: how well the demo checkpoint follows control maps and prompts, on scenes that training
 * never saw. For each condition its own measure: with control, without, and of the scene's picture through the VAE and back, which
 * bounds what the model can draw (the paper, arXiv 2302.05543, table 2, has such a bound).
 */
import { existsSync } from "node:fs";
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
} from "../demo/measures.ts";
import { type Control, type Demo, openDemo } from "../demo/models.ts";
import { DEMO_TRAIN_DIR } from "../demo/plan.ts";
import { CONDITIONS, type Condition, conditions, EDGE_THRESHOLDS, surfaceMaps } from "../demo/world/maps.ts";
import { render } from "../demo/world/render.ts";
import { type Scene, scene } from "../demo/world/scene.ts";
import { canny } from "../src/image/annotators/canny.ts";
import type { Pixels } from "../src/image/pixels.ts";

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
  hough_lines: { name: "edge F1, 2 px", best: "high", of: async (picture, map) => f1(edges(picture), map, 2) },
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

/** Everything that is measured on: the model, the scenes, and their control maps. */
interface Bench {
  readonly demo: Demo;
  readonly scenes: readonly Scene[];
  /** Those that there are ControlNets for. */
  readonly trained: readonly Condition[];
  readonly map: (i: number, condition: Condition) => Pixels;
}

async function open(dir: string, count: number): Promise<Bench> {
  const demo = openDemo(dir);
  const scenes = Array.from({ length: count }, (_, i) => scene(FIRST_UNSEEN_SEED + i));
  const trained = CONDITIONS.filter((condition) => demo.conditions.includes(condition));
  const maps = new Map<Condition, Pixels[]>();
  for (const condition of trained) {
    maps.set(condition, await Promise.all(scenes.map(conditions[condition])));
  }
  return { demo, scenes, trained, map: (i, condition) => maps.get(condition)![i]! };
}

/** A picture for every scene, under these conditions. Without its prompt the ControlNets guess. */
async function draw(
  { demo, scenes, map }: Bench,
  under: readonly Condition[],
  { scale = 1, prompted = true } = {},
): Promise<Pixels[]> {
  const pictures: Pixels[] = [];
  for (const [i, { caption, seed }] of scenes.entries()) {
    const controls = under.map((condition): Control => ({ condition, map: map(i, condition), scale }));
    pictures.push(await demo.draw({ prompt: prompted ? caption : "", seed, controls, guess_mode: !prompted }));
  }
  return pictures;
}

const measure = async ({ scenes, map }: Bench, condition: Condition, pictures: readonly Pixels[]) =>
  mean(await Promise.all(pictures.map((one, i) => MEASURES[condition].of(one, map(i, condition), scenes[i]!))));

/** The share of named colours that are found: at their places, and anywhere. */
async function colours({ scenes }: Bench, pictures: readonly Pixels[]): Promise<readonly [number, number]> {
  const at = (await Promise.all(pictures.map((picture, i) => coloursAtPlace(picture, scenes[i]!)))).flat();
  const any = pictures.flatMap((picture, i) => coloursAnywhere(picture, scenes[i]!));
  return [mean(at.map(Number)), mean(any.map(Number))];
}

const row = (...cells: readonly (string | number)[]) =>
  console.log(`| ${cells.map((cell) => (typeof cell === "number" ? cell.toFixed(2) : cell)).join(" | ")} |`);
function table(...heads: readonly string[]): void {
  console.log("");
  row(...heads);
  row(...heads.map(() => "---"));
}

/** Peak signal to noise ratio of pictures, in dB. */
function psnr(wanted: readonly Pixels[], got: readonly Pixels[]): number {
  const squares = wanted.map(({ data }, i) => mean(Array.from(data, (value, k) => (value - got[i]!.data[k]!) ** 2)));
  return 10 * Math.log10(255 ** 2 / mean(squares));
}

/** Control works, and the prompt still rules. @returns the pictures of each condition alone */
async function oneByOne(bench: Bench, plain: readonly Pixels[]): Promise<Map<Condition, Pixels[]>> {
  const originals = await Promise.all(bench.scenes.map(render));
  const through: Pixels[] = [];
  for (const picture of originals) {
    through.push(await bench.demo.reconstruct(picture));
  }
  console.log(`VAE: ${psnr(originals, through).toFixed(1)} dB`);
  table("condition", "measure", "with control", "without", "VAE", "colours at their place", "colours anywhere");
  row("none", "", "", "", "", ...(await colours(bench, plain)));
  const single = new Map<Condition, Pixels[]>();
  for (const condition of bench.trained) {
    const pictures = await draw(bench, [condition]);
    single.set(condition, pictures);
    const { name, best } = MEASURES[condition];
    const values: number[] = [];
    for (const some of [pictures, plain, through]) {
      values.push(await measure(bench, condition, some));
    }
    row(condition, `${name} (${best} is good)`, ...values, ...(await colours(bench, pictures)));
  }
  row("the scene through the VAE", "", "", "", "", ...(await colours(bench, through)));
  return single;
}

async function withoutPrompt(bench: Bench): Promise<void> {
  table("empty prompt, guess mode", "with control", "without");
  const plain = await draw(bench, [], { prompted: false });
  for (const condition of bench.trained) {
    const pictures = await draw(bench, [condition], { prompted: false });
    row(condition, await measure(bench, condition, pictures), await measure(bench, condition, plain));
  }
}

const TOGETHER: readonly (readonly Condition[])[] = [
  ["canny", "segmentation"],
  ["pose", "depth"],
  ["scribble", "segmentation", "depth"],
];

async function together(bench: Bench, single: ReadonlyMap<Condition, readonly Pixels[]>): Promise<void> {
  table("together", "on the measure of", "together", "alone");
  for (const group of TOGETHER.filter((all) => all.every((one) => bench.trained.includes(one)))) {
    const pictures = await draw(bench, group);
    for (const condition of group) {
      const alone = await measure(bench, condition, single.get(condition)!);
      row(group.join(" + "), condition, await measure(bench, condition, pictures), alone);
    }
  }
}

/** How the measure follows conditioning_scale, for one map of lines and one of areas. */
async function scales(bench: Bench, single: ReadonlyMap<Condition, readonly Pixels[]>): Promise<void> {
  const some = (["canny", "segmentation"] as const).filter((condition) => bench.trained.includes(condition));
  table("conditioning_scale", ...some);
  for (const scale of [0.5, 1, 1.5]) {
    const values: number[] = [];
    for (const condition of some) {
      const pictures = scale === 1 ? single.get(condition)! : await draw(bench, [condition], { scale });
      values.push(await measure(bench, condition, pictures));
    }
    row(String(scale), ...values);
  }
}

/** At scale 0 a ControlNet must change nothing. */
async function ablation(bench: Bench, plain: readonly Pixels[]): Promise<void> {
  console.log("");
  const first = { ...bench, scenes: bench.scenes.slice(0, 1) };
  for (const condition of bench.trained) {
    const [picture] = (await draw(first, [condition], { scale: 0 })) as [Pixels];
    const same = Buffer.from(picture.data).equals(Buffer.from(plain[0]!.data));
    console.log(`${condition} at scale 0: ${same ? "the base's picture, byte for byte" : "NOT the base's picture"}`);
  }
}

/** @param dir a MODELS_DIR with the demo @param count scenes to draw, each some thirty times */
export async function run(dir = join(DEMO_TRAIN_DIR, "models"), count = 64): Promise<void> {
  if (!existsSync(join(dir, "demo", "unet", "diffusion_pytorch_model.safetensors"))) {
    console.log(`no demo in ${dir}: npm run demo:train makes it`);
    return;
  }
  const bench = await open(dir, count);
  const started = performance.now();
  const plain = await draw(bench, []);
  console.log(`a picture without control: ${((performance.now() - started) / 1000 / count).toFixed(2)} s`);
  const single = await oneByOne(bench, plain);
  await withoutPrompt(bench);
  await together(bench, single);
  await scales(bench, single);
  await ablation(bench, plain);
  await bench.demo.close();
}
