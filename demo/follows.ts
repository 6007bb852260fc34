/** How well pictures follow the control maps of their scenes: for each condition the measure that fits it. */
import { canny } from "../src/image/annotators/canny.ts";
import type { Pixels } from "../src/image/pixels.ts";
import { f1, iou, mean, meanDifference, meanIou, type Overlap, readOverlaps, readParts, recall } from "./measures.ts";
import { type Condition, EDGE_THRESHOLDS, surfaceMaps } from "./world/maps.ts";
import type { Scene } from "./world/scene.ts";

/** The figure of all the pictures, or of some of them: by their places. */
export type Figure = (some?: readonly number[]) => number;

interface Measure {
  readonly name: string;
  /** What is better. */
  readonly best: "high" | "low";
  /** Looks at each picture once. */
  readonly read: (pictures: readonly Pixels[], maps: readonly Pixels[], scenes: readonly Scene[]) => Promise<Figure>;
}

/** @param sum makes one figure of what was read off several pictures */
function figure<Reading>(readings: readonly Reading[], sum: (readings: readonly Reading[]) => number): Figure {
  return (some) => sum(some === undefined ? readings : some.map((i) => readings[i]!));
}

/** The mean of a figure of each picture. */
const each =
  (of: (picture: Pixels, map: Pixels, scene: Scene) => number | Promise<number>): Measure["read"] =>
  async (pictures, maps, scenes) =>
    figure(await Promise.all(pictures.map((picture, i) => of(picture, maps[i]!, scenes[i]!))), mean);

/** A figure of the classes' overlaps in all pictures. */
const overlap =
  (of: (overlaps: readonly Overlap[]) => number): Measure["read"] =>
  async (pictures, _, scenes) =>
    figure(await readOverlaps(pictures, scenes), of);

const edges = (picture: Pixels) => canny(picture, ...EDGE_THRESHOLDS);

/** Of maps that show every edge. */
const sameEdges = (reach: number): Measure => ({
  name: `edge F1, ${reach} px`,
  best: "high",
  read: each((picture, map) => f1(edges(picture), map, reach)),
});

/** Of the map that is made from what the picture looks like, to the one that was given. */
const surface = (kind: "depth" | "normal"): Measure => ({
  name: "mean difference",
  best: "low",
  read: each(async (picture, map, one) => meanDifference(surfaceMaps[kind](one, await readParts(picture, one)), map)),
});

export const MEASURES: Readonly<Record<Condition, Measure>> = {
  canny: sameEdges(2),
  // Curved edges are in the picture and rightly not in this map: only what it shows is looked for.
  hough_lines: {
    name: "lines found, 2 px",
    best: "high",
    read: each((picture, map) => recall(map, edges(picture), 2)),
  },
  scribble: sameEdges(3),
  pose: { name: "IoU of people", best: "high", read: overlap((overlaps) => iou(overlaps, "person")) },
  segmentation: { name: "mean IoU", best: "high", read: overlap(meanIou) },
  normal: surface("normal"),
  depth: surface("depth"),
  lineart: sameEdges(2),
};
