/** Models by name: fetched from a hub into MODELS_DIR, listed, removed. */

import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { link, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { LORA_WEIGHTS } from "../models/lora/lora.ts";
import { SHELF_ROUTES, type ShelfName } from "../schema/catalog.ts";
import { choose, type FileChoice, type WantedFiles } from "./choose.ts";
import { download } from "./download.ts";
import { type Hub, type HubFile, type Repository, requireName } from "./hub.ts";
import { HubError } from "./hub-fetch.ts";

/** What stands beside a fetched model's files. */
export interface Pulled extends Omit<WantedFiles, "shelf"> {
  readonly name: string;
  readonly shelf: ShelfName;
  /** As it was asked for. */
  readonly revision: string;
  readonly commit: string;
  readonly license: string | null;
  readonly files: readonly HubFile[];
}

export interface Asked extends WantedFiles {
  readonly name: string;
  readonly revision: string;
}

/** Told what happens. */
export interface PullListener {
  onChosen(repository: Repository, choice: FileChoice): void;
  /** `have` of all the bytes are there. */
  onBytes(file: HubFile, have: number, total: number): void;
}

const RECORD = ".pulled.json";
/** Below MODELS_DIR: what is not whole yet. A dot hides it from the shelves. */
const UNFINISHED = ".pulling";

/** Where on a shelf a repository lies: its id is its name. */
const placeOf = (models: string, shelf: ShelfName, name: string) =>
  join(models, shelf === "models" ? "" : shelf, ...name.split("/"));

const blobOf = (folder: string, { sha256, oid }: HubFile) => join(folder, sha256 ?? oid);

function readRecord(folder: string): Pulled | null {
  const file = join(folder, RECORD);
  return existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as Pulled) : null;
}

/** The id under which a request names what was fetched. */
export const pulledId = ({ name, file, files }: Pick<Pulled, "name" | "file" | "files">): string =>
  file === null && files.length > 1 ? name : idOfFile(name, files[0]!.path);

/** A folder of one file, such as a LoRA's, goes by its own name. */
const idOfFile = (name: string, path: string) =>
  path === LORA_WEIGHTS ? name : `${name}/${basename(path).replace(/\.safetensors$/i, "")}`;

/** What was fetched under a name before. */
export function findPulled(models: string, name: string): Pulled | null {
  requireName(name);
  const found = (Object.keys(SHELF_ROUTES) as ShelfName[]).map((shelf) => readRecord(placeOf(models, shelf, name)));
  return found.find((one) => one !== null) ?? null;
}

/** Everything that was fetched. */
export function listPulled(models: string): Pulled[] {
  const folders = (dir: string) =>
    existsSync(dir)
      ? readdirSync(dir, { withFileTypes: true }).flatMap((one) => (one.isDirectory() ? [join(dir, one.name)] : []))
      : [];
  const places = (Object.keys(SHELF_ROUTES) as ShelfName[]).map((shelf) =>
    join(models, shelf === "models" ? "" : shelf),
  );
  return places
    .flatMap(folders)
    .flatMap(folders)
    .flatMap((folder) => readRecord(folder) ?? []);
}

/** @throws HubError when nothing was fetched under that name: what the user has put there stays */
export function removePulled(models: string, name: string): void {
  const pulled = findPulled(models, name);
  const unfinished = join(models, UNFINISHED, name.replace("/", "--"));
  if (pulled === null && !existsSync(unfinished)) {
    throw new HubError(`${name} was not fetched into ${models}`);
  }
  if (pulled !== null) rmSync(placeOf(models, pulled.shelf, name), { recursive: true });
  rmSync(unfinished, { recursive: true, force: true });
}

/**
 * @param models MODELS_DIR
 * @returns what is there now; where it was fetched before and is still the same, nothing is fetched
 * @throws HubError
 */
export async function pull(
  hub: Hub,
  models: string,
  asked: Asked,
  { onChosen, onBytes }: PullListener,
): Promise<Pulled> {
  const { name, revision, variant } = asked;
  const repository = await hub.repository(name, revision);
  const blobs = join(models, UNFINISHED, name.replace("/", "--"));
  mkdirSync(blobs, { recursive: true });
  const fetched = async (file: HubFile, onFile: (have: number) => void = () => {}) => {
    const blob = blobOf(blobs, file);
    if (!existsSync(blob)) await download(hub, hub.address(repository, file.path), file, blob, onFile);
    return blob;
  };
  const read = async (file: HubFile) => {
    try {
      return JSON.parse(await readFile(await fetched(file), "utf8")) as Record<string, unknown>;
    } catch (error) {
      throw error instanceof SyntaxError ? new HubError(`${file.path} is not JSON`) : error;
    }
  };
  const choice = await choose(repository, asked, read).catch((error: unknown) => {
    throw error instanceof HubError ? new HubError(`${name}: ${error.message}`) : error;
  });
  const { shelf, files } = choice;
  const pulled: Pulled = {
    name,
    revision,
    variant,
    shelf,
    commit: repository.commit,
    license: repository.license,
    file: choice.form === "file" ? files[0]!.path : null,
    files,
  };
  const place = placeOf(models, shelf, name);
  const before = readRecord(place);
  if (before === null && existsSync(place)) throw new HubError(`${place} is there already, and was not fetched`);
  onChosen(repository, choice);
  if (JSON.stringify(before?.files) !== JSON.stringify(files)) {
    const total = files.reduce((sum, { size }) => sum + size, 0);
    let done = 0;
    for (const file of files) {
      await fetched(file, (have) => onBytes(file, done + have, total));
      done += file.size;
      onBytes(file, done, total);
    }
    await layOut(blobs, place, pulled);
  }
  await rm(blobs, { recursive: true });
  return pulled;
}

/** The whole of it takes its place in one step, and what lay there before goes. */
async function layOut(blobs: string, place: string, pulled: Pulled): Promise<void> {
  const whole = join(blobs, "whole");
  await rm(whole, { recursive: true, force: true });
  for (const file of pulled.files) {
    // One file alone lies at the top: its id is its own name.
    const to = join(whole, pulled.file === null ? file.path : basename(file.path));
    await mkdir(dirname(to), { recursive: true });
    await link(blobOf(blobs, file), to);
  }
  await writeFile(join(whole, RECORD), `${JSON.stringify(pulled, null, 1)}\n`);
  await mkdir(dirname(place), { recursive: true });
  if (existsSync(place)) await rename(place, join(blobs, "before"));
  await rename(whole, place);
}
