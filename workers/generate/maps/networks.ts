/** Maps that networks make: on the engine thread, with its provider and within its budget of memory. */
import { type LoadedFolder, loadFolder, networkMaps } from "../../../src/annotators/annotate.ts";
import type { AnnotatorFolder } from "../../../src/annotators/folder.ts";
import { type AnnotatorLibrary, foldersFor, missingFiles } from "../../../src/annotators/library.ts";
import { NetworkError } from "../../../src/annotators/network.ts";
import type { Run } from "../../../src/diffusion/model.ts";
import { asAsked, atDetection } from "../../../src/image/map-size.ts";
import type { Pixels } from "../../../src/image/pixels.ts";
import { writePose } from "../../../src/image/pose/json.ts";
import type { NetworkChoice } from "../../../src/schema/annotator-choice.ts";
import type { Loadable } from "../../runtime/runtime.ts";
import { type MadeMap, MapError, type MapTask } from "./made.ts";
import { readPicture } from "./picture.ts";

type Runner = (network: Loadable) => Run;

export class NetworkMaps {
  readonly #runner: Runner;
  /** Folders whose networks can be run: each network is one object as long as its folder is open, so that it is loaded once. */
  readonly #loaded = new WeakMap<AnnotatorFolder, LoadedFolder>();

  constructor(runner: Runner) {
    this.#runner = runner;
  }

  /** @throws {MapError} */
  async make(
    { choice, picture, maxPixels }: MapTask<NetworkChoice>,
    library: AnnotatorLibrary,
    turn: () => Promise<void>,
  ): Promise<MadeMap> {
    const folder = this.#folder(choice, library, turn);
    const pixels = await readPicture(picture!, choice, maxPixels);
    await turn();
    try {
      return await annotate(pixels, folder, choice);
    } catch (error) {
      throw error instanceof NetworkError ? new MapError("cannot_annotate", error.message) : error;
    }
  }

  #folder({ name, params }: NetworkChoice, library: AnnotatorLibrary, turn: () => Promise<void>): LoadedFolder {
    const ids = foldersFor(name, library);
    const id = params.network === null ? ids[0] : ids.find((one) => one === params.network);
    if (id === undefined) throw new MapError("annotator_unavailable", missingFiles(name));
    const opened = library.folders.get(id)!;
    const known = this.#loaded.get(opened);
    const loaded = known ?? loadFolder(opened, (part) => this.#runner(opened.networks[part]!));
    this.#loaded.set(opened, loaded);
    return withTurns(loaded, turn);
  }
}

/** The same networks, with a turn before each run: there a cancel is heard. */
function withTurns(folder: LoadedFolder, turn: () => Promise<void>): LoadedFolder {
  const nets = Object.entries(folder.nets).map(([part, net]) => {
    const run: Run = async (feeds) => {
      await turn();
      return net.run(feeds);
    };
    return [part, { ...net, run }];
  });
  return { ...folder, nets: Object.fromEntries(nets) };
}

async function annotate(pixels: Pixels, folder: LoadedFolder, { name, params }: NetworkChoice): Promise<MadeMap> {
  const shown = atDetection(pixels, params);
  const { map, people, warnings } = await networkMaps[name](shown, folder, params as never);
  const sized = asAsked(map, pixels, params);
  const { width, height } = params.resolution === null ? shown : sized; // without what the picture is padded by
  const pose = people === undefined ? null : writePose({ width, height, people });
  return { map: sized, pose, warnings };
}
