/** Every kind of map, on the engine thread: what this worker has annotators for, and the maps that it has made lately. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import {
  type AnnotatorLibrary,
  FILED_ANNOTATORS,
  foldersFor,
  openAnnotators,
  publishedFor,
} from "../../../src/annotators/library.ts";
import type { Run } from "../../../src/diffusion/model.ts";
import { isNetworkChoice, type NetworkChoice, type PlainChoice } from "../../../src/schema/annotator-choice.ts";
import type { Catalog } from "../../../src/schema/catalog.ts";
import type { Loadable } from "../../runtime/runtime.ts";
import { Lately } from "../lately.ts";
import { Stamps } from "../stamp.ts";
import type { MadeMap, MapTask } from "./made.ts";
import { NetworkMaps } from "./networks.ts";
import { MapThread } from "./thread-client.ts";

/** Bytes of maps that are kept: at 512² a map takes 0.8 MB. */
const KEPT_BYTES = 128 * 2 ** 20;

/** How a map under way hears that it is to stop. */
export interface Stopping {
  /** Comes before each part of the work; throws when it is to end. */
  readonly turn: () => Promise<void>;
  readonly signal: AbortSignal;
}

export class Maps {
  readonly #dir: string;
  readonly #networks: NetworkMaps;
  readonly #thread = new MapThread();
  readonly #cache = new Lately<MadeMap>(KEPT_BYTES, ({ map }) => map.data.length);
  #library: AnnotatorLibrary;
  #stamps: Stamps;

  constructor(modelsDir: string, runner: (network: Loadable) => Run) {
    this.#dir = join(modelsDir, "annotators");
    this.#networks = new NetworkMaps(runner);
    this.#stamps = stampsOf(this.#dir);
    this.#library = openAnnotators(this.#dir);
  }

  /** Reads the folder of annotators again: what has not changed stays open. */
  reload(): void {
    const [stamps, before] = [stampsOf(this.#dir), this.#stamps];
    const same = [...this.#library.folders].filter(([name]) => stamps.get(name) === before.get(name));
    this.#stamps = stamps;
    this.#library = openAnnotators(this.#dir, { ...this.#library, folders: new Map(same) });
  }

  /** What the catalog says of annotators' networks. */
  get offer(): Pick<Catalog, "annotators" | "skipped"> {
    return {
      annotators: FILED_ANNOTATORS.map((id) => ({
        id,
        networks: foldersFor(id, this.#library),
        published: publishedFor(id),
      })),
      skipped: this.#library.skipped.map(({ path, reason }) => ({
        shelf: "annotators",
        id: path.slice(this.#dir.length + 1),
        path,
        reason,
      })),
    };
  }

  /**
   * @param names the hashes of picture and mask: with the annotator and the pose they say which map it is
   * @throws {MapError} when it cannot be made
   */
  make(task: MapTask, names: readonly (string | null)[], { turn, signal }: Stopping): Promise<MadeMap> {
    const { choice, pose } = task;
    const network = isNetworkChoice(choice) ? this.#networkOf(choice) : null;
    return this.#cache.get(JSON.stringify([choice, names, pose, network]), () =>
      isNetworkChoice(choice)
        ? this.#networks.make({ ...task, choice }, this.#library, turn)
        : this.#thread.make({ ...task, choice: choice as PlainChoice }, signal),
    );
  }

  /** Which files make the map: other ones make another. */
  #networkOf({ name, params }: NetworkChoice): readonly (string | undefined)[] {
    const id = params.network ?? foldersFor(name, this.#library)[0];
    return [id, id === undefined ? id : this.#stamps.get(id)];
  }
}

function stampsOf(dir: string): Stamps {
  const stamps = new Stamps();
  for (const name of existsSync(dir) ? readdirSync(dir) : []) stamps.note(name, [join(dir, name)]);
  return stamps;
}
