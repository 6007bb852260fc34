/** Whether things of MODELS_DIR are still what they were when they were opened. */
import { type Dirent, readdirSync, type Stats, statSync } from "node:fs";
import { join } from "node:path";

/** Parts of a model lie in folders of its own. */
const MOST_DEPTH = 2;

/** Another text where a file is another: by size, time and place on the disk. */
export const stampOfFile = ({ size, mtimeMs, ino }: Stats) => `${size} ${mtimeMs} ${ino}`;

/** undefined for what is not there, or cannot be looked at: a link to itself, a folder of somebody else's. */
export function statOf(path: string): Stats | undefined {
  try {
    return statSync(path);
  } catch {
    return undefined;
  }
}

/** None where a folder cannot be read. */
export function entriesOf(path: string): Dirent[] {
  try {
    return readdirSync(path, { withFileTypes: true });
  } catch {
    return [];
  }
}

/** Another text where a file, or any file of a folder, is another. */
function stampOf(path: string, depth = 0): string {
  const found = statOf(path);
  if (found === undefined) return "";
  if (!found.isDirectory()) return stampOfFile(found);
  if (depth > MOST_DEPTH) return "";
  const names = entriesOf(path)
    .map(({ name }) => name)
    .sort();
  return names.map((name) => `${name} ${stampOf(join(path, name), depth + 1)}`).join("\n");
}

const stampOfAll = (paths: readonly string[]) => paths.map((path) => stampOf(path)).join(" ");

/** What the files of things were, by the things' names. */
export class Stamps {
  readonly #known = new Map<string, { paths: readonly string[]; stamp: string }>();

  /** Notes the files of something that is about to be opened; of two of one name the first counts. */
  note(name: string, paths: readonly string[]): void {
    if (!this.#known.has(name)) this.#known.set(name, { paths, stamp: stampOfAll(paths) });
  }

  /** undefined for what was not there. */
  get(name: string): string | undefined {
    return this.#known.get(name)?.stamp;
  }

  /** Whether its files are the same now; true for what was not there. */
  isCurrent(name: string): boolean {
    const known = this.#known.get(name);
    return known === undefined || stampOfAll(known.paths) === known.stamp;
  }
}
