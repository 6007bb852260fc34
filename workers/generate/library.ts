/** What MODELS_DIR holds, shelf by shelf: opened (headers only) but not loaded. */
import { type Dirent, existsSync, readdirSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { DEMO_MODELS_DIR } from "../../src/config/config.ts";
import type { BaseModel } from "../../src/models/opened.ts";
import type { Catalog, ShelfName, Unavailable } from "../../src/schema/catalog.ts";
import { type Opened, SHELVES, type Shelf } from "./shelves.ts";

export type Library = { readonly [Name in ShelfName]: ReadonlyMap<string, Opened<Name>> } & {
  readonly catalog: Omit<Catalog, "execution_provider">;
};

function isFolder(parent: string, entry: Dirent): boolean {
  return entry.isDirectory() || (entry.isSymbolicLink() && statSync(join(parent, entry.name)).isDirectory());
}

/** Single files, and files that hold pickled Python objects and are never opened. */
const SINGLE_FILE = ".safetensors";
const PICKLE = /\.(ckpt|pt|pth|bin)$/;

/** Folders of MODELS_DIR that have a shelf of their own. */
const PLACES = Object.values(SHELVES).flatMap(({ place }) => place || []);

/** Something that may stand on a shelf. */
interface Found {
  readonly id: string;
  readonly path: string;
  readonly folder: boolean;
}

/** What a folder holds, folders before files. */
function* find(dir: string): Generator<Found> {
  const isFile = ({ name }: Dirent) => name.endsWith(SINGLE_FILE);
  const entries = existsSync(dir) ? readdirSync(dir, { withFileTypes: true }) : [];
  for (const entry of entries.sort((a, b) => Number(isFile(a)) - Number(isFile(b)))) {
    if (!PLACES.includes(entry.name) && !entry.name.startsWith(".")) {
      const path = join(dir, entry.name);
      yield { id: basename(entry.name, SINGLE_FILE), path, folder: isFolder(dir, entry) };
    }
  }
}

/** A shelf's things and their entries; `skip` is told what cannot be served, and why. */
function fill<T, Entry>(
  { place, openFolder, openFile, describe }: Shelf<T, Entry>,
  dir: string,
  models: ReadonlyMap<string, BaseModel> | null,
  skip: (found: Found, reason: string) => void,
): { opened: Map<string, T>; entries: Entry[] } {
  const opened = new Map<string, T>();
  const entries: Entry[] = [];
  for (const found of find(join(dir, place))) {
    const { id, path, folder } = found;
    try {
      if (!folder && !path.endsWith(SINGLE_FILE)) {
        throw new Error(
          PICKLE.test(path)
            ? "a pickle, which can run code; only .safetensors files are loaded"
            : "neither a model folder nor a .safetensors file",
        );
      }
      if (opened.has(id)) {
        throw new Error(`the folder "${id}" has the same id`);
      }
      const one = folder ? openFolder(path) : openFile(path);
      const forTraining = folder && dir !== DEMO_MODELS_DIR;
      entries.push(describe(id, one, { models: models ?? new Map(), forTraining }));
      opened.set(id, one);
    } catch (error) {
      skip(found, (error as Error).message);
    }
  }
  return { opened, entries };
}

/** Never throws for what a folder holds: what cannot be served is in `catalog.skipped`, with the reason. */
export function openLibrary(dir: string): Library {
  const skipped: Unavailable[] = [];
  const filled: Partial<Record<ShelfName, ReturnType<typeof fill>>> = {};
  for (const [shelf, row] of Object.entries(SHELVES) as [ShelfName, Shelf<unknown, unknown>][]) {
    const models = (filled.models?.opened ?? null) as ReadonlyMap<string, BaseModel> | null;
    filled[shelf] = fill(row, dir, models, ({ id, path }, reason) => skipped.push({ shelf, id, path, reason }));
  }
  const each = (take: (one: ReturnType<typeof fill>) => unknown) =>
    Object.fromEntries(Object.entries(filled).map(([shelf, one]) => [shelf, take(one)]));
  return {
    ...each(({ opened }) => opened),
    catalog: { ...each(({ entries }) => entries), skipped },
  } as Library;
}
