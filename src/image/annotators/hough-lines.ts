import { drawLine } from "../drawing/line.ts";
import { houghLines as find, type HoughOptions, type Line } from "../hough.ts";
import type { Pixels } from "../pixels.ts";
import { canny } from "./canny.ts";

export interface HoughLinesOptions extends HoughOptions {
  readonly lowThreshold: number;
  readonly highThreshold: number;
}

/** The straight lines of a picture's edges, found without a network. */
export function straightLines(pixels: Pixels, options: HoughLinesOptions): Line[] {
  const { width, height, data } = canny(pixels, options.lowThreshold, options.highThreshold);
  const edges = new Uint8Array(width * height);
  for (let p = 0; p < edges.length; p++) edges[p] = data[p * 3]!;
  return find(edges, width, height, options);
}

/** Straight lines, white on black, one pixel thick. */
export function houghLinesMap(pixels: Pixels, options: HoughLinesOptions): Pixels {
  const { width, height } = pixels;
  const map = { width, height, data: new Uint8Array(width * height * 3) };
  for (const line of straightLines(pixels, options)) drawLine(map, ...line, [255, 255, 255]);
  return map;
}
