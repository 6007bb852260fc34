/**
 * npm run demo:pictures: what the documentation shows, of scenes that training never saw, drawn by what is shipped or MODELS_DIR.
 * docs/demo-strip.png: hint, result with it, result without, another hint and the result of both. docs/demo-prompts.png: a hint, and
 * what several prompts make of it. docs/demo-scales.png: a hint, and its result at each conditioning_scale. docs/demo-sheet.png: 24 prompts without control.
 * demo/first-request.json: what `npm start` prints a line for.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { DEMO_MODELS_DIR } from "../src/config/config.ts";
import { encodeImage } from "../src/image/encode.ts";
import type { Pixels } from "../src/image/pixels.ts";
import { FIRST_UNSEEN_SEED } from "./dataset.ts";
import { type Demo, GUIDANCE, openDemo } from "./models.ts";
import { SIDE } from "./world/landscape.ts";
import { type Condition, conditions } from "./world/maps.ts";
import { scene } from "./world/scene.ts";

const GAP = 4;
/** A house in the sun: its edges, and words that say otherwise. */
const HOUSE = scene(FIRST_UNSEEN_SEED + 3);
const PROMPTS = [
  "a red house with a blue roof, the sun, on grass, at sunset",
  "a green house with a red roof, the sun, on sand, at sunset",
  "a yellow house with a red roof, the sun, on grass, by day",
  "a red house with a blue roof, the moon, on snow, at night",
];
const SEED = 7;
const docs = join(import.meta.dirname, "../docs");

/** Pictures in rows, a white gap between them. */
async function save(file: string, rows: readonly (readonly Pixels[])[]): Promise<void> {
  const step = SIDE + GAP;
  const tiles = rows.flatMap((row, y) =>
    row.map(({ data, width, height }, x) => ({
      input: Buffer.from(data),
      raw: { width, height, channels: 3 as const },
      left: x * step,
      top: y * step,
    })),
  );
  const columns = Math.max(...rows.map(({ length }) => length));
  const sheet = { width: columns * step - GAP, height: rows.length * step - GAP, channels: 3 as const };
  await sharp({ create: { ...sheet, background: "white" } })
    .composite(tiles)
    .png()
    .toFile(join(docs, file));
}

/** For each scene a row: a map, what it makes, the same prompt without it, a second map, what both make. */
async function strip(demo: Demo, first: Condition, second: Condition, seeds: readonly number[]): Promise<Pixels[][]> {
  const rows: Pixels[][] = [];
  for (const seed of seeds) {
    const one = scene(seed);
    const wish = { prompt: one.caption, seed };
    const [a, b] = [
      { condition: first, map: await conditions[first](one) },
      { condition: second, map: await conditions[second](one) },
    ];
    rows.push([
      a.map,
      await demo.draw({ ...wish, controls: [a] }),
      await demo.draw({ ...wish, controls: [] }),
      b.map,
      await demo.draw({ ...wish, controls: [a, b] }),
    ]);
  }
  return rows;
}

const SCALES = [0, 0.5, 0.75, 1, 1.25, 1.5];

/** For each condition a row: its map of the scene, and what it makes at each scale. */
async function scales(demo: Demo, of: readonly Condition[], seed: number): Promise<Pixels[][]> {
  const one = scene(seed);
  const rows: Pixels[][] = [];
  for (const condition of of) {
    const row = [await conditions[condition](one)];
    for (const scale of SCALES) {
      row.push(await demo.draw({ prompt: one.caption, seed, controls: [{ condition, map: row[0]!, scale }] }));
    }
    rows.push(row);
  }
  return rows;
}

/** One picture a scene, prompts alone. */
async function sheet(demo: Demo, rows: number, columns: number): Promise<Pixels[][]> {
  const all: Pixels[][] = [];
  for (let y = 0; y < rows; y++) {
    const row: Pixels[] = [];
    for (let x = 0; x < columns; x++) {
      const seed = FIRST_UNSEEN_SEED + y * columns + x;
      row.push(await demo.draw({ prompt: scene(seed).caption, seed, controls: [] }));
    }
    all.push(row);
  }
  return all;
}

/** One scene's edges, and what each prompt makes of them. */
async function prompts(demo: Demo): Promise<Pixels[]> {
  const map = await conditions.canny(HOUSE);
  const row = [map];
  for (const prompt of PROMPTS) {
    row.push(await demo.draw({ prompt, seed: SEED, controls: [{ condition: "canny", map }] }));
  }
  return row;
}

/** The first of these pictures, as the service is asked for it. */
async function firstRequest(): Promise<string> {
  const map = await encodeImage(await conditions.canny(HOUSE), "png");
  const image = `data:image/png;base64,${Buffer.from(map).toString("base64")}`;
  const controls = [{ controlnet: "canny", image }];
  return `${JSON.stringify({ prompt: PROMPTS[0], seed: SEED, guidance_scale: GUIDANCE, controls }, null, 2)}\n`;
}

const demo = openDemo(process.env.MODELS_DIR ?? DEMO_MODELS_DIR);
mkdirSync(docs, { recursive: true });
await save("demo-sheet.png", await sheet(demo, 4, 6));
if (demo.conditions.includes("canny") && demo.conditions.includes("segmentation")) {
  const seeds = [0, 2, 3].map((i) => FIRST_UNSEEN_SEED + i);
  await save("demo-strip.png", await strip(demo, "canny", "segmentation", seeds));
  await save("demo-prompts.png", [await prompts(demo)]);
  await save("demo-scales.png", await scales(demo, ["canny", "segmentation"], FIRST_UNSEEN_SEED + 1));
}
writeFileSync(join(import.meta.dirname, "first-request.json"), await firstRequest());
await demo.close();
