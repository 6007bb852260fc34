/** What MODELS_DIR holds, shelf by shelf: opened (headers only) but not loaded. */
import { existsSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { DEMO_MODELS_DIR } from "../../src/config/config.ts";
import type { BaseModel } from "../../src/models/opened.ts";
import { openSafetyChecker, SAFETY_CHECKER, type SafetyChecker } from "../../src/models/safety-checker.ts";
import type { Catalog, ShelfName, Unavailable } from "../../src/schema/catalog.ts";
import { Id } from "../../src/schema/fields.ts";
import { DECODERS, lendDecoder, openDecoders, type TinyDecoders } from "./decoders.ts";
import { type Found, findAll } from "./finding.ts";
import type { Shelf } from "./shelf.ts";
import { family, type Opened, SHELVES } from "./shelves.ts";
import { Stamps } from "./stamp.ts";

export type Library = { readonly [Name in ShelfName]: ReadonlyMap<string, Opened<Name>> } & {
  /** MODELS_DIR/safety_checker: for the models that bring none. */
  readonly safety_checker: SafetyChecker | null;
  /** Of what stands on the shelves, by {@link placeOf}. */
  readonly stamps: Stamps;
  readonly catalog: Omit<Catalog, "execution_provider" | "annotators">;
};

export const placeOf = (shelf: ShelfName, id: string) => `${shelf}/${id}`;

/** Each shelf by where in MODELS_DIR its things lie. */
const PLACES = new Map(Object.entries(SHELVES).map(([shelf, { place }]) => [place, shelf as ShelfName]));

/** Characters: a name in a file can be a megabyte long, and the catalog is told every few seconds. */
const LONGEST_REASON = 1000;

/** A shelf's things and their entries; `skip` is told what cannot be served, and why. */
function fill<T, Entry>(
  { openFolder, openFile, describe }: Shelf<T, Entry>,
  dir: string,
  things: readonly Found[],
  { models, safety_checker }: { models: ReadonlyMap<string, BaseModel> | null; safety_checker: SafetyChecker | null },
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
      if (!Id.safeParse(id).success) {
        throw new Error(`its name has ${id.length} characters, which is too long`);
      }
      const earlier = things.find((one) => one.id === id);
      if (opened.has(id) && earlier !== undefined) {
        throw new Error(`the ${earlier.folder ? "folder" : "file"} "${relative(dir, earlier.path)}" has the same id`);
      }
      const one = folder ? openFolder(path) : openFile(path);
      // Training looks for a base under its id.
      const forTraining = folder && path === join(dir, id) && dir !== DEMO_MODELS_DIR;
      entries.push(describe(id, one, { models: models ?? new Map(), safety_checker, forTraining }));
      opened.set(id, one);
    } catch (error) {
      skip(found, (error as Error).message.slice(0, LONGEST_REASON));
    }
  }
  return { opened, entries };
}

function openShared(dir: string, skipped: Unavailable[]): SafetyChecker | null {
  const path = join(dir, SAFETY_CHECKER);
  if (!existsSync(path)) return null;
  try {
    return openSafetyChecker(path);
  } catch (error) {
    skipped.push({ shelf: "models", id: SAFETY_CHECKER, path, reason: (error as Error).message });
    return null;
  }
}

/** The models' shelf, from which they come with the decoder of their family. */
const lending = (models: typeof SHELVES.models, decoders: TinyDecoders): typeof SHELVES.models => ({
  ...models,
  openFolder(path) {
    const model = models.openFolder(path);
    return lendDecoder(model, family(model), decoders);
  },
  openFile(path) {
    const model = models.openFile(path);
    return lendDecoder(model, family(model), decoders);
  },
});

/** Never throws for what a folder holds: what cannot be served is in `catalog.skipped`, with the reason. */
export function openLibrary(dir: string): Library {
  const skipped: Unavailable[] = [];
  const safety_checker = openShared(dir, skipped);
  const decoders = openDecoders(dir, skipped);
  const found = findAll(dir, PLACES);
  const stamps = new Stamps();
  const filled: Partial<Record<ShelfName, ReturnType<typeof fill>>> = {};
  for (const [shelf, row] of Object.entries(SHELVES) as [ShelfName, Shelf<unknown, unknown>][]) {
    const models = (filled.models?.opened ?? null) as ReadonlyMap<string, BaseModel> | null;
    const own = found.filter(({ shelf: of, id }) => of === shelf && id !== row.companion);
    const skip = ({ id, path }: Found, reason: string) => skipped.push({ shelf, id, path, reason });
    for (const { id, path } of own) {
      const companion = row.companion === undefined ? [] : [join(dirname(path), row.companion)];
      const lends = shelf === "models" ? [join(dir, DECODERS)] : [];
      stamps.note(placeOf(shelf, id), [path, ...companion, ...lends]);
    }
    const lent = shelf === "models" ? lending(row as typeof SHELVES.models, decoders) : row;
    filled[shelf] = fill(lent as typeof row, dir, own, { models, safety_checker }, skip);
  }
  const each = (take: (one: ReturnType<typeof fill>) => unknown) =>
    Object.fromEntries(Object.entries(filled).map(([shelf, one]) => [shelf, take(one)]));
  return {
    ...each(({ opened }) => opened),
    safety_checker,
    stamps,
    catalog: { ...each(({ entries }) => entries), skipped },
  } as Library;
}
