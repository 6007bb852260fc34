/** Maps as the parts of a worker hand them to each other. */
import type { Pixels } from "../../../src/image/pixels.ts";
import type { AnnotatorChoice } from "../../../src/schema/annotator-choice.ts";
import type { PoseJson } from "../../../src/schema/pose.ts";

/** What a map is made of. */
export interface MapTask<C extends AnnotatorChoice = AnnotatorChoice> {
  readonly choice: C;
  /** The bytes of the picture, as uploaded. */
  readonly picture: Uint8Array | null;
  /** Those of a mask. */
  readonly mask: Uint8Array | null;
  readonly pose: PoseJson | null;
  /** The setting: what an annotator takes follows from it. */
  readonly maxPixels: number;
}

/** A map, the people in it where it shows people, and what the client should know. */
export interface MadeMap {
  readonly map: Pixels;
  readonly pose: PoseJson | null;
  readonly warnings: readonly string[];
}

/** The map cannot be made of what it was to be made of; `code` and `message` are for the client. */
export class MapError extends Error {
  override readonly name = "MapError";
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}
