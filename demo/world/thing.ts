import type { Hour } from "./colours.ts";
import type { Part, Point } from "./part.ts";
import type { Keypoint, Skeleton } from "./skeleton.ts";

/** Something that stands on the ground. */
export interface Thing {
  readonly parts: readonly Part[];
  /** Words of the caption: "a red house with a blue roof". Things with the same words are counted: "two pines". */
  readonly said: string;
  readonly plural: string;
  /** A person's. */
  readonly skeleton?: Skeleton;
}

/** Where a thing stands: the middle of its foot, how near that is, and in what light. */
export interface Place {
  readonly x: number;
  readonly y: number;
  readonly near: number;
  readonly hour: Hour;
}

/** "a red house", "an orange car". */
export const one = (words: string) => `${/^[aeiou]/.test(words) ? "an" : "a"} ${words}`;

/** A thing so many times as large, on the same foot. */
export function enlarged({ parts, skeleton, ...words }: Thing, { x, y }: Place, factor: number): Thing {
  const moved = ([px, py]: Point): Point => [x + factor * (px - x), y + factor * (py - y)];
  const grown = parts.map((part) => ({ ...part, outline: part.outline.map(moved) }));
  if (skeleton === undefined) return { ...words, parts: grown };
  const joints = Object.entries(skeleton).map(([name, point]) => [name, moved(point)]);
  return { ...words, parts: grown, skeleton: Object.fromEntries(joints) as Record<Keypoint, Point> };
}
