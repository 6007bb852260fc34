/** What a shelf of MODELS_DIR is: a row of the table in shelves.ts. */
import type { BaseModel } from "../../src/models/opened.ts";
import type { SafetyChecker } from "../../src/models/safety-checker.ts";

/** What is told of something on a shelf, beside what it is. */
export interface Surroundings {
  /** The base models of MODELS_DIR: what the other shelves' things fit, or not. */
  readonly models: ReadonlyMap<string, BaseModel>;
  /** For the models that bring none. */
  readonly safety_checker: SafetyChecker | null;
  /** Whether it can be trained on: in the diffusers layout, and with room beside it. */
  readonly forTraining: boolean;
}

export interface Shelf<Opened, Entry> {
  /** Where in MODELS_DIR its things lie; "" = in MODELS_DIR itself. */
  readonly place: string;
  /** A folder there that its things share, and which is none of them. */
  readonly companion?: string;
  /** @throws CheckpointError, ShapeError, UnsupportedError: the reason that a client is told */
  openFolder(path: string): Opened;
  openFile(path: string): Opened;
  /** Its entry in the catalog. @throws Error when it cannot be served after all */
  describe(id: string, opened: Opened, surroundings: Surroundings): Entry;
}
