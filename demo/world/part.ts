/** What a scene is made of: filled outlines, the later ones in front of the earlier ones. x to the right, y down, in pixels. */
import type { Colour, Rgb } from "./colours.ts";

export type Point = readonly [number, number];
export type Outline = readonly Point[];

/** One colour, or one at the outline's top that becomes another at its bottom. */
export type Fill = Rgb | { readonly top: Rgb; readonly bottom: Rgb };

export const CLASSES = [
  "sky",
  "light",
  "cloud",
  "mountain",
  "ground",
  "water",
  "wall",
  "roof",
  "opening",
  "tree",
  "car",
  "person",
] as const;
export type Class = (typeof CLASSES)[number];

/** How a surface lies: a direction (right, up, toward the viewer) of length 1, or that of a ball or a standing cylinder. */
export type Facing = Point3 | "ball" | "pillar";
export type Point3 = readonly [number, number, number];
export const TO_VIEWER: Point3 = [0, 0, 1];
export const UP: Point3 = [0, 1, 0];

export interface Part {
  readonly outline: Outline;
  readonly fill: Fill;
  readonly class: Class;
  readonly facing: Facing;
  /** How near: 0 the sky, 1 the viewer. One number, or one at the outline's top and one at its bottom. */
  readonly near: number | readonly [number, number];
  /** The colour word that the caption says of it. */
  readonly said?: Colour;
  /** Too small for a sketch. */
  readonly detail?: true;
}

export interface Box {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

export function boxOf(outline: Outline): Box {
  const [xs, ys] = [outline.map(([x]) => x), outline.map(([, y]) => y)];
  return { left: Math.min(...xs), right: Math.max(...xs), top: Math.min(...ys), bottom: Math.max(...ys) };
}

export const rectangle = (left: number, top: number, right: number, bottom: number): Outline => [
  [left, top],
  [right, top],
  [right, bottom],
  [left, bottom],
];

/** Points of an arc about (x, y), from angle to angle in turns, clockwise from the right. */
function arc(x: number, y: number, rx: number, ry: number, from: number, to: number, count: number): Point[] {
  return Array.from({ length: count }, (_, i) => {
    const angle = 2 * Math.PI * (from + ((to - from) * i) / count);
    return [x + rx * Math.cos(angle), y + ry * Math.sin(angle)] as const;
  });
}

export const ellipse = (x: number, y: number, rx: number, ry = rx): Outline => arc(x, y, rx, ry, 0, 1, 32);

/** A line with round ends. */
export function stroke([x1, y1]: Point, [x2, y2]: Point, width: number): Outline {
  const turns = Math.atan2(y2 - y1, x2 - x1) / (2 * Math.PI);
  const r = width / 2;
  return [...arc(x2, y2, r, r, turns - 0.25, turns + 0.25, 9), ...arc(x1, y1, r, r, turns + 0.25, turns + 0.75, 9)];
}

/** A moon whose dark side is to the right. */
export function crescent(x: number, y: number, r: number): Outline {
  return [...arc(x, y, r, r, 0.15, 0.85, 24), ...arc(x + 0.5 * r, y, 0.75 * r, 0.82 * r, 0.72, 0.28, 20)];
}

/** Whether a point lies inside an outline: a ray from it crosses the outline an odd number of times. */
function contains(outline: Outline, x: number, y: number): boolean {
  let inside = false;
  let [x1, y1] = outline.at(-1)!;
  for (const [x2, y2] of outline) {
    if (y1 > y !== y2 > y && x < x1 + ((y - y1) / (y2 - y1)) * (x2 - x1)) {
      inside = !inside;
    }
    [x1, y1] = [x2, y2];
  }
  return inside;
}

/** Points of a grid over a box, this many a side, by which areas are measured. */
const GRID = 9;

/** The share of a part's area that none of `later` covers and that is within the picture of `side` × `side` pixels. */
export function visibleShare({ outline }: Part, later: readonly Part[], side: number): number {
  const { left, right, top, bottom } = boxOf(outline);
  const covers = later
    .map((part) => ({ outline: part.outline, box: boxOf(part.outline) }))
    .filter(({ box }) => box.left < right && box.right > left && box.top < bottom && box.bottom > top);
  let [all, seen] = [0, 0];
  for (let i = 0; i < GRID * GRID; i++) {
    const x = left + (((i % GRID) + 0.5) / GRID) * (right - left);
    const y = top + ((Math.floor(i / GRID) + 0.5) / GRID) * (bottom - top);
    if (contains(outline, x, y)) {
      all += 1;
      const within = x > 0 && x < side && y > 0 && y < side;
      seen += Number(within && !covers.some((cover) => contains(cover.outline, x, y)));
    }
  }
  return seen / all;
}
