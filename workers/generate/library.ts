/** What MODELS_DIR holds, shelf by shelf: opened (headers only) but not loaded. */
import { join, relative } from "node:path";
import { DEMO_MODELS_DIR } from "../../src/config/config.ts";
import type { BaseModel } from "../../src/models/opened.ts";
import type { Catalog, ShelfName, Unavailable } from "../../src/schema/catalog.ts";
import { type Found, findAll } from "./finding.ts";
import type { Shelf } from "./shelf.ts";
import { type Opened, SHELVES } from "./shelves.ts";

export type Library = { readonly [Name in ShelfName]: ReadonlyMap<string, Opened<Name>> } & {
  readonly catalog: Omit<Catalog, "execution_provider" | "annotators">;
};

/** Each shelf by where in MODELS_DIR its things lie. */
const PLACES = new Map(Object.entries(SHELVES).map(([shelf, { place }]) => [place, shelf as ShelfName]));

/** A shelf's things and their entries; `skip` is told what cannot be served, and why. */
function fill<T, Entry>(
  { openFolder, openFile, describe }: Shelf<T, Entry>,
  dir: string,
  things: readonly Found[],
  models: ReadonlyMap<string, BaseModel> | null,
  skip: (found: Found, reason: string) => void,
): { opened: Map<string, T>; entries: Entry[] } {
  const opened = new Map<string, T>();
  const entries: Entry[] = [];
  for (const found of things) {
    const { id, path, folder, reason } = found;
    try {
      if (reason !== undefined) {
        throw new Error(reason);
      }
      const earlier = things.find((one) => one.id === id);
      if (opened.has(id) && earlier !== undefined) {
        throw new Error(`the ${earlier.folder ? "folder" : "file"} "${relative(dir, earlier.path)}" has the same id`);
      }
      const one = folder ? openFolder(path) : openFile(path);
      // Training looks for a base under its id.
      const forTraining = folder && path === join(dir, id) && dir !== DEMO_MODELS_DIR;
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
  const found = findAll(dir, PLACES);
  const filled: Partial<Record<ShelfName, ReturnType<typeof fill>>> = {};
  for (const [shelf, row] of Object.entries(SHELVES) as [ShelfName, Shelf<unknown, unknown>][]) {
    const models = (filled.models?.opened ?? null) as ReadonlyMap<string, BaseModel> | null;
    const own = found.filter(({ shelf: of, id }) => of === shelf && id !== row.companion);
    filled[shelf] = fill(row, dir, own, models, ({ id, path }, reason) => skipped.push({ shelf, id, path, reason }));
  }
  const each = (take: (one: ReturnType<typeof fill>) => unknown) =>
    Object.fromEntries(Object.entries(filled).map(([shelf, one]) => [shelf, take(one)]));
  return {
    ...each(({ opened }) => opened),
    catalog: { ...each(({ entries }) => entries), skipped },
  } as Library;
}
