/** A training's files, laid out on the trainer's disk for its thread. */
import { mkdir, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Config } from "../../src/config/config.ts";
import type { Claim, Outcome } from "../../src/jobs/attempt.ts";
import { inputBytes } from "../../src/jobs/inputs.ts";
import type { TrainingRecord } from "../../src/jobs/training.ts";
import { type TrainingRequest, TrainingSettings } from "../../src/schema/training-request.ts";
import { datasetKey } from "../../src/storage/keys.ts";
import { RESERVE_BYTES, reserve, roomOf } from "../../src/storage/room.ts";
import type { Storage } from "../../src/storage/storage.ts";
import { DatasetError, datasetFolder } from "../../src/training/dataset.ts";
import { failure } from "../take-jobs.ts";
import type { Running } from "./running.ts";
import type { TrainingTask } from "./thread.ts";

/** Files of a dataset, and bytes of one of them: far more than a picture or a listing has. */
const MOST_ENTRIES = 500_000;
const MOST_FILE_BYTES = 256 * 2 ** 20;
/** What a tar may have beside its files: padding at its end, and headers of a few that are longer than most. */
const BESIDE_FILES = 64 * 2 ** 20;

/** Where a training finds its dataset. */
type Dataset = Pick<TrainingTask, "archive" | "within"> & { dataset: string };

/**
 * Lays a training's files out, or says why it cannot be done.
 * @param folder the training's own
 */
export async function layOut(
  { config, storage }: { readonly config: Config; readonly storage: Storage },
  folder: string,
  { record: { id }, attempt }: Claim<TrainingRecord>,
  request: TrainingRequest,
  { told, stop }: Running,
): Promise<TrainingTask | Outcome> {
  const work = await takeOver(folder, attempt);
  const base = join(config.MODELS_DIR, request.base);
  if (!(await isFolder(base))) return failure("unknown_model", `this trainer has no model folder "${request.base}"`);
  const found = request.dataset.startsWith("folder:")
    ? findDataset(request.dataset.slice("folder:".length), config)
    : await fetchArchive(storage, id, folder, work);
  if ("status" in found) return found;
  const { dataset, archive, within } = found;
  return {
    folders: {
      base,
      dataset,
      output: join(work, "result"),
      work,
      validation: await layHints(storage, id, work, request),
    },
    archive,
    limits: {
      entries: MOST_ENTRIES,
      fileBytes: MOST_FILE_BYTES,
      totalBytes: config.MAX_DATASET_BYTES,
      besideBytes: BESIDE_FILES,
      // One dataset leaves half of the room to the others.
      freeBytes: RESERVE_BYTES + Math.floor((await roomOf(folder)) / 2),
    },
    within,
    settings: settingsOf(request),
    memoryBudget: config.MEMORY_BUDGET,
    toldUpTo: told,
    stop: stop.buffer,
  };
}

/** A dataset that the trainer has. */
function findDataset(name: string, { DATASETS_DIR }: Config): Dataset | Outcome {
  if (DATASETS_DIR === undefined) {
    return failure("dataset_invalid", `the trainer has no DATASETS_DIR, so that it cannot have "${name}"`);
  }
  try {
    return { dataset: datasetFolder(DATASETS_DIR, name), within: DATASETS_DIR, archive: null };
  } catch (error) {
    if (error instanceof DatasetError) return failure("dataset_invalid", `on the trainer, ${error.message}`);
    throw error;
  }
}

/** A dataset that came as an archive, which the thread unpacks. */
async function fetchArchive(storage: Storage, id: string, folder: string, work: string): Promise<Dataset> {
  const archive = join(work, "archive");
  await rm(archive, { force: true });
  await storage.toFile(datasetKey(id), archive);
  return { dataset: join(folder, "dataset"), within: folder, archive };
}

/** Brings the hints to validate with. Returns the file that lists them; null = there are none. */
async function layHints(storage: Storage, id: string, work: string, { validation }: TrainingRequest) {
  if (validation.length === 0) return null;
  for (const [i, { image }] of validation.entries()) {
    const bytes = await inputBytes(storage, id, image);
    await reserve(work, bytes.length);
    await writeFile(join(work, `hint-${i}`), bytes);
  }
  const file = join(work, "validation.json");
  await writeFile(file, JSON.stringify(validation.map(({ prompt }, i) => ({ prompt, image: `hint-${i}` }))));
  return file;
}

const isFolder = (path: string) =>
  stat(path).then(
    (entry) => entry.isDirectory(),
    () => false,
  );

function settingsOf(request: TrainingRequest): TrainingSettings {
  const own = Object.entries(request).filter(([name]) => name in TrainingSettings.shape);
  return TrainingSettings.parse(Object.fromEntries(own));
}

/**
 * The work folder of an attempt: the one of the attempt before it under a new name, so that a worker that was thought dead
 * finds it no more and writes nothing into it.
 */
async function takeOver(folder: string, attempt: number): Promise<string> {
  const work = join(folder, `work-${attempt}`);
  await mkdir(folder, { recursive: true });
  const earlier = (await readdir(folder))
    .map((name) => Number(/^work-(\d+)$/.exec(name)?.[1]))
    .filter((number) => number < attempt);
  if (earlier.length > 0) await rename(join(folder, `work-${Math.max(...earlier)}`), work);
  await mkdir(work, { recursive: true });
  return work;
}
