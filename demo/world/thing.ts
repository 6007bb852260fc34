import type { Hour } from "./colours.ts";
import type { Part } from "./part.ts";
import type { Skeleton } from "./person.ts";

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
