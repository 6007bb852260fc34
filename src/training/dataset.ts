/** A folder of pictures with prompts and, for a ControlNet, hints. */
import { existsSync, readFileSync, realpathSync, statSync } from "node:fs";
import { isAbsolute, join, normalize, sep } from "node:path";

/** The dataset cannot be trained on; the message names lines and files. */
export class DatasetError extends Error {
  override readonly name = "DatasetError";
}

export interface Pair {
  /** Where it is listed, for messages: "prompt.json:3". */
  readonly where: string;
  /** Paths of files. */
  readonly image: string;
  readonly hint: string | null;
  readonly prompt: string;
}

type Line = Readonly<Record<string, unknown>>;

/** How each listing names the three things of a line, in order of preference. */
const LISTINGS = {
  /** lllyasviel/ControlNet, docs/train.md: one JSON object a line. */
  "prompt.json": { image: ["target"], hint: ["source"], prompt: ["prompt"] },
  /** Hugging Face datasets' image folder, and the columns of diffusers' train_controlnet.py. */
  "metadata.jsonl": {
    image: ["file_name", "image_file_name", "image"],
    hint: ["conditioning_image_file_name", "conditioning_image"],
    prompt: ["text"],
  },
} satisfies Record<string, Record<"image" | "hint" | "prompt", string[]>>;

/** How many mistakes a message lists before it only counts them. */
const SHOWN = 10;

/** The most bytes of a listing: half a million pairs, read into memory at once. */
const MAX_LISTING_BYTES = 128 * 2 ** 20;

const isFile = (path: string) => existsSync(path) && statSync(path).isFile();

/**
 * The folder of a dataset in `datasets`, a DATASETS_DIR.
 * @throws DatasetError when there is none of this name, or it leads elsewhere
 */
export function datasetFolder(datasets: string, name: string): string {
  const folder = join(datasets, name);
  if (name.startsWith(".") || !existsSync(folder) || !statSync(folder).isDirectory()) {
    throw new DatasetError(`DATASETS_DIR has no folder "${name}"`);
  }
  if (!realpathSync(folder).startsWith(realpathSync(datasets) + sep)) {
    throw new DatasetError(`the folder "${name}" leads out of DATASETS_DIR`);
  }
  return folder;
}

/** The name of a dataset's listing; undefined when the folder has none. */
export function listingOf(folder: string): keyof typeof LISTINGS | undefined {
  return (Object.keys(LISTINGS) as (keyof typeof LISTINGS)[]).find((name) => isFile(join(folder, name)));
}

function inside(folder: string, name: string): string | null {
  const path = normalize(name);
  return isAbsolute(path) || path.startsWith("..") ? null : join(folder, path);
}

/**
 * The pairs of a dataset's folder, in the order of their listing.
 * @param hints whether each pair needs one
 * @throws DatasetError that names every line that is not sound, or says that there is none
 */
export function readDataset(folder: string, hints: boolean): Pair[] {
  const listing = listingOf(folder);
  if (listing === undefined) {
    throw new DatasetError(`${folder}: no ${Object.keys(LISTINGS).join(" and no ")} in it`);
  }
  const { size } = statSync(join(folder, listing));
  if (size > MAX_LISTING_BYTES) {
    throw new DatasetError(`${listing}: ${size} bytes; at most ${MAX_LISTING_BYTES} are read`);
  }
  const names = LISTINGS[listing];
  const wrong: string[] = [];
  const pairs: Pair[] = [];
  const lines = readFileSync(join(folder, listing), "utf8").split("\n");
  lines.forEach((text, i) => {
    const where = `${listing}:${i + 1}`;
    if (text.trim() === "") {
      return;
    }
    let line: Line;
    try {
      line = JSON.parse(text);
    } catch {
      wrong.push(`${where}: not JSON`);
      return;
    }
    const find = (keys: readonly string[]) => keys.map((key) => line?.[key]).find((value) => typeof value === "string");
    const file = (keys: readonly string[]) => {
      const name = find(keys) as string | undefined;
      const path = name === undefined ? null : inside(folder, name);
      if (name === undefined) {
        wrong.push(`${where}: no "${keys[0]}"`);
      } else if (path === null) {
        wrong.push(`${where}: "${name}" lies outside the dataset`);
      } else if (!existsSync(path)) {
        wrong.push(`${where}: the file "${name}" is missing`);
      } else if (!isFile(path)) {
        wrong.push(`${where}: "${name}" is a folder, or no file`);
      }
      return path ?? "";
    };
    const prompt = find(names.prompt) as string | undefined;
    if (prompt === undefined) {
      wrong.push(`${where}: no "${names.prompt[0]}"`);
    }
    pairs.push({ where, image: file(names.image), hint: hints ? file(names.hint) : null, prompt: prompt ?? "" });
  });
  refuse(wrong);
  if (pairs.length === 0) {
    throw new DatasetError(`${join(folder, listing)} lists nothing`);
  }
  return pairs;
}

/** @throws DatasetError when there is anything in the list */
export function refuse(wrong: readonly string[]): void {
  if (wrong.length > 0) {
    const more = wrong.length > SHOWN ? [`and ${wrong.length - SHOWN} more`] : [];
    throw new DatasetError([...wrong.slice(0, SHOWN), ...more].join("\n"));
  }
}
