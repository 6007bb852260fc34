/**
 * npm run bench demo: how well the demo checkpoint follows control maps and prompts, on scenes that training
 * never saw. For each condition its own measure: with control, without, and of the scene's picture through the VAE and back, which
 * bounds what the model can draw (the paper, arXiv 2302.05543, table 2, has such a bound).
 */
import { FIRST_UNSEEN_SEED } from "../demo/dataset.ts";
import { type Figure, MEASURES } from "../demo/follows.ts";
import { coloursAnywhere, coloursAtPlace, layoutShare, mean } from "../demo/measures.ts";
import { type Control, type Demo, openDemo } from "../demo/models.ts";
import { CONDITIONS, type Condition, conditions } from "../demo/world/maps.ts";
import { render } from "../demo/world/render.ts";
import { type Scene, scene } from "../demo/world/scene.ts";
import { DEMO_MODELS_DIR } from "../src/config/config.ts";
import type { Pixels } from "../src/image/pixels.ts";

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

/** The conditioning_scale of each condition. */
type Scales = Readonly<Partial<Record<Condition, number>>>;
const entries = (under: Scales) => Object.entries(under) as [Condition, number][];

/** A picture for every scene, under these conditions. Without its prompt the ControlNets guess. */
async function draw({ demo, scenes, map }: Bench, under: Scales, { prompted = true } = {}): Promise<Pixels[]> {
  const pictures: Pixels[] = [];
  for (const [i, { caption, seed }] of scenes.entries()) {
    const controls = entries(under).map(
      ([condition, scale]): Control => ({ condition, map: map(i, condition), scale }),
    );
    pictures.push(await demo.draw({ prompt: prompted ? caption : "", seed, controls, guess_mode: !prompted }));
  }
  return pictures;
}

const read = ({ scenes, map }: Bench, condition: Condition, pictures: readonly Pixels[]) =>
  MEASURES[condition].read(
    pictures,
    scenes.map((_, i) => map(i, condition)),
    scenes,
  );

async function measure(bench: Bench, condition: Condition, pictures: readonly Pixels[]): Promise<number> {
  return (await read(bench, condition, pictures))();
}

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
    const pictures = await draw(bench, { [condition]: 1 });
    single.set(condition, pictures);
    const { name, best } = MEASURES[condition];
    const values: number[] = [];
    for (const some of [pictures, plain, through]) {
      values.push(await measure(bench, condition, some));
    }
    row(condition, `${name} (${best} is good)`, ...values, ...(await colours(bench, pictures)));
  }
  row("the scene through the VAE", "", "", "", "", ...(await colours(bench, through)));
  row("another scene's picture", "", "", "", "", ...(await colours(bench, [...originals.slice(1), originals[0]!])));
  return single;
}

/** No words say the colours then: what is measured is whether they keep to the scene's parts, and edges. */
async function withoutPrompt(bench: Bench): Promise<void> {
  const { scenes } = bench;
  const layout = async (pictures: readonly Pixels[]) =>
    mean(await Promise.all(pictures.map((picture, i) => layoutShare(picture, scenes[i]!))));
  table(
    "empty prompt, guess mode",
    "layout: share of the colours' variance between the scene's parts",
    "edge F1, 2 px",
  );
  const figures = async (pictures: readonly Pixels[]) =>
    [await layout(pictures), await measure(bench, "canny", pictures)] as const;
  row("no control", ...(await figures(await draw(bench, {}, { prompted: false }))));
  for (const condition of bench.trained) {
    row(condition, ...(await figures(await draw(bench, { [condition]: 1 }, { prompted: false }))));
  }
  row("the scene itself", ...(await figures(await Promise.all(scenes.map(render)))));
}

const TOGETHER: readonly Scales[] = [
  { segmentation: 1, canny: 0.4 },
  { depth: 1, pose: 0.8 },
  { segmentation: 1.1, depth: 0.1, scribble: 0.1 },
];

/** Of the jackknife: the scenes are left out in as many parts. */
const PARTS = 16;

/** The difference between two figures on these scenes, with its standard error for scenes like them. */
function difference(a: Figure, b: Figure, scenes: readonly number[]): string {
  const without = Array.from({ length: PARTS }, (_, part) => {
    const kept = scenes.filter((_, place) => place % PARTS !== part);
    return a(kept) - b(kept);
  });
  const middle = mean(without);
  const error = Math.sqrt((PARTS - 1) * mean(without.map((one) => (one - middle) ** 2)));
  return `${(a(scenes) - b(scenes)).toFixed(3)} ± ${error.toFixed(3)}`;
}

/** Each at 1, and at scales of their own, against whichever of them is best alone, on each one's measure. */
async function together(bench: Bench): Promise<void> {
  const all = [...bench.scenes.keys()];
  const first = all.slice(0, SCENES);
  console.log(`\nTogether, on ${all.length} scenes:`);
  table(
    "at these scales",
    "on the measure of",
    "each at 1",
    "at these scales",
    "the best alone",
    "which is",
    "difference",
    `of the first ${SCENES}`,
  );
  const single = new Map<Condition, Pixels[]>();
  for (const scales of TOGETHER.filter((some) => entries(some).every(([one]) => bench.trained.includes(one)))) {
    const group = entries(scales).map(([condition]) => condition);
    for (const one of group.filter((condition) => !single.has(condition))) {
      single.set(one, await draw(bench, { [one]: 1 }));
    }
    const full = await draw(bench, Object.fromEntries(group.map((condition) => [condition, 1])));
    const scaled = await draw(bench, scales);
    for (const condition of group) {
      const { best } = MEASURES[condition];
      const alone: [Figure, Condition][] = [];
      for (const one of group) {
        alone.push([await read(bench, condition, single.get(one)!), one]);
      }
      const bestAlone = (some: readonly number[]) =>
        alone.toSorted(([a], [b]) => (best === "high" ? b(some) - a(some) : a(some) - b(some)))[0]!;
      const [rival, which] = bestAlone(all);
      const own = await read(bench, condition, scaled);
      const [rivalOfFirst] = bestAlone(first);
      row(
        entries(scales)
          .map(([one, scale]) => `${one} ${scale}`)
          .join(" + "),
        `${condition} (${best} is good)`,
        (await measure(bench, condition, full)).toFixed(3),
        own().toFixed(3),
        rival().toFixed(3),
        which,
        difference(own, rival, all),
        difference(own, rivalOfFirst, first),
      );
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
      const pictures = scale === 1 ? single.get(condition)! : await draw(bench, { [condition]: scale });
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
    const [picture] = (await draw(first, { [condition]: 0 })) as [Pixels];
    const same = Buffer.from(picture.data).equals(Buffer.from(plain[0]!.data));
    console.log(`${condition} at scale 0: ${same ? "the base's picture, byte for byte" : "NOT the base's picture"}`);
  }
}

/** Scenes to draw, each 22 times; and for what is drawn under several maps, each 11 times: there the differences are small. */
const [SCENES, TOGETHER_SCENES] = [64, 256];

export async function run(): Promise<void> {
  const bench = await open(process.env.MODELS_DIR ?? DEMO_MODELS_DIR, TOGETHER_SCENES);
  const few: Bench = { ...bench, scenes: bench.scenes.slice(0, SCENES) };
  const started = performance.now();
  const plain = await draw(few, {});
  console.log(`a picture without control: ${((performance.now() - started) / 1000 / SCENES).toFixed(2)} s`);
  const single = await oneByOne(few, plain);
  await withoutPrompt(few);
  await scales(few, single);
  await ablation(few, plain);
  await together(bench);
  await bench.demo.close();
}
