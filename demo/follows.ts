/** How well pictures follow the control maps of their scenes: for each condition the measure that fits it. */
import { canny } from "../src/image/annotators/canny.ts";
import type { Pixels } from "../src/image/pixels.ts";
import { classOverlaps, f1, mean, meanDifference, meanIou, readParts, recall } from "./measures.ts";
import { type Condition, EDGE_THRESHOLDS, surfaceMaps } from "./world/maps.ts";
import type { Scene } from "./world/scene.ts";

type Figure = (pictures: readonly Pixels[], maps: readonly Pixels[], scenes: readonly Scene[]) => Promise<number>;

interface Measure {
  readonly name: string;
  /** What is better. */
  readonly best: "high" | "low";
  readonly of: Figure;
}

/** The mean of a figure of each picture. */
const each =
  (of: (picture: Pixels, map: Pixels, scene: Scene) => number | Promise<number>): Figure =>
  async (pictures, maps, scenes) =>
    mean(await Promise.all(pictures.map((picture, i) => of(picture, maps[i]!, scenes[i]!))));

const edges = (picture: Pixels) => canny(picture, ...EDGE_THRESHOLDS);

/** Of maps that show every edge. */
const sameEdges = (reach: number): Measure => ({
  name: `edge F1, ${reach} px`,
  best: "high",
  of: each((picture, map) => f1(edges(picture), map, reach)),
});

/** Of the map that is made from what the picture looks like, to the one that was given. */
const surface = (kind: "depth" | "normal"): Measure => ({
  name: "mean difference",
  best: "low",
  of: each(async (picture, map, one) => meanDifference(surfaceMaps[kind](one, await readParts(picture, one)), map)),
});

export const MEASURES: Readonly<Record<Condition, Measure>> = {
  canny: sameEdges(2),
  // Curved edges are in the picture and rightly not in this map: only what it shows is looked for.
  hough_lines: { name: "lines found, 2 px", best: "high", of: each((picture, map) => recall(map, edges(picture), 2)) },
  scribble: sameEdges(3),
  pose: {
    name: "IoU of people",
    best: "high",
    of: async (pictures, _, scenes) => (await classOverlaps(pictures, scenes)).get("person")!,
  },
  segmentation: { name: "mean IoU", best: "high", of: (pictures, _, scenes) => meanIou(pictures, scenes) },
  normal: surface("normal"),
  depth: surface("depth"),
  lineart: sameEdges(2),
};
