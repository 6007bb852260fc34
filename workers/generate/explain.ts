/** What MODELS_DIR, a model's folder or a file is, without anything started: headers are read, no weights. */
import { existsSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import type { ShelfName } from "../../src/schema/catalog.ts";
import { openLibrary } from "./library.ts";
import type { Shelf } from "./shelf.ts";
import { SHELVES } from "./shelves.ts";

export interface Explained {
  readonly lines: readonly string[];
  /** How much of it cannot be served. */
  readonly unavailable: number;
}

type Entry = { readonly id: string; readonly warnings?: readonly string[] };

/** What of a model its line says. */
function nameOf(shelf: ShelfName, entry: Entry): string {
  const { family, width, height, scheduler, models } = entry as Entry & Record<string, unknown>;
  const facts = shelf === "models" ? `${family}, ${width}×${height}, ${scheduler}` : "";
  const fits = Array.isArray(models) ? `fits ${models.length === 0 ? "no model here" : models.join(", ")}` : "";
  return `${shelf}/${entry.id}: ok${[facts, fits]
    .filter((part) => part !== "")
    .map((part) => ` (${part})`)
    .join("")}`;
}

/** All of a MODELS_DIR. */
function explainLibrary(dir: string): Explained {
  const { catalog } = openLibrary(dir);
  const served = (Object.keys(SHELVES) as ShelfName[]).flatMap((shelf) =>
    (catalog[shelf] as readonly Entry[]).flatMap((entry) => [
      nameOf(shelf, entry),
      ...(entry.warnings ?? []).map((warning) => `  warning: ${warning}`),
    ]),
  );
  const skipped = catalog.skipped.map(({ shelf, id, reason }) => `${shelf}/${id}: not served: ${reason}`);
  return { lines: [...served, ...skipped], unavailable: skipped.length };
}

/** Shelves that a folder of one network is for, by what lies in it; of a file every shelf. */
const shelvesOf = (path: string): ShelfName[] =>
  existsSync(join(path, "model_index.json"))
    ? ["models"]
    : existsSync(join(path, "config.json"))
      ? ["controlnets", "adapters"]
      : (Object.keys(SHELVES) as ShelfName[]);

/** One model, on whichever shelf takes it. */
function explainOne(path: string, isFolder: boolean): Explained {
  const shelves = isFolder ? shelvesOf(path) : (Object.keys(SHELVES) as ShelfName[]);
  const reasons: string[] = [];
  for (const shelf of shelves) {
    const { openFolder, openFile, describe } = SHELVES[shelf] as Shelf<unknown, Entry>;
    try {
      const opened = isFolder ? openFolder(path) : openFile(path);
      const entry = describe(basename(path), opened, { models: new Map(), safety_checker: null, forTraining: false });
      const warnings = (entry.warnings ?? []).map((warning) => `  warning: ${warning}`);
      return { lines: [nameOf(shelf, entry), ...warnings], unavailable: 0 };
    } catch (error) {
      reasons.push(`not one of the ${shelf}: ${(error as Error).message}`);
    }
  }
  return { lines: [`${basename(path)}: not served`, ...reasons.map((reason) => `  ${reason}`)], unavailable: 1 };
}

/** Marks of a folder that is itself a model. */
const MARKS = ["model_index.json", "config.json"];

/** @throws Error when nothing is there */
export function explain(path: string): Explained {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) throw new Error(`${path} is not there`);
  const isOne = !found.isDirectory() || MARKS.some((name) => existsSync(join(path, name)));
  const explained = isOne ? explainOne(path, found.isDirectory()) : explainLibrary(path);
  return explained.lines.length > 0 ? explained : { lines: [`${path} holds no models`], unavailable: 0 };
}
