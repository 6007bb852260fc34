/**
 * The thread that a training of the service runs on: it prepares the dataset and computes. A step blocks it, so the main
 * thread (workers/train/thread-client.ts) talks to Redis; whether to stop is read from memory that both share.
 */
import { existsSync, readdirSync, realpathSync, renameSync, rmSync } from "node:fs";
import { constants, setPriority } from "node:os";
import { join, sep } from "node:path";
import { parentPort, workerData } from "node:worker_threads";
import { SchedulerConfigError } from "../../src/diffusion/scheduler-config.ts";
import { UnsupportedError } from "../../src/models/config.ts";
import { CheckpointError } from "../../src/models/safetensors.ts";
import type { TrainingSettings } from "../../src/schema/training-request.ts";
import type { StepRecord } from "../../src/training/curve.ts";
import { DatasetError, listingOf } from "../../src/training/dataset.ts";
import { type ArchiveLimits, unpack } from "./archive.ts";
import { TrainingError } from "./checkpoint.ts";
import { describeNeed, MemoryError, requireMemory, totalOf } from "./memory.ts";
import { train } from "./run.ts";
import type { Folders } from "./subject.ts";

/** The thread's workerData. */
export interface TrainingTask {
  /** `dataset` holds the pairs when it is there; else `archive` is unpacked to it. */
  readonly folders: Folders;
  readonly archive: string | null;
  readonly limits: ArchiveLimits;
  /** Nothing in the dataset may lie outside of this folder. */
  readonly within: string;
  readonly settings: TrainingSettings;
  /** MEMORY_BUDGET; undefined = all of the memory. */
  readonly memoryBudget: number | undefined;
  /** The last step that is told of for certain. */
  readonly toldUpTo: number;
  /** One number; not 0 = stop after the step under way. */
  readonly stop: SharedArrayBuffer;
}

export type FromThread =
  /** Bytes that the dataset's files take of the disk, once they are unpacked. */
  | { type: "unpacked"; bytes: number }
  /** Bytes that it needs, once, before the first step. */
  | { type: "memory"; bytes: number; description: string }
  | { type: "step"; record: StepRecord; saved: readonly string[] | null }
  /** It has come to the end, or was stopped; saved either way, once there was a step to save. */
  | { type: "finished" }
  | { type: "stopped" }
  /** `code` and `message` are what the client reads in the training's `error`. */
  | { type: "failed"; code: string; message: string }
  /** There was no room for what it keeps; it can go on. */
  | { type: "disk_full" };

class Stopped extends Error {
  override readonly name = "Stopped";
}

const port = parentPort!;
const task = workerData as TrainingTask;
const { folders, archive, limits, within, settings, memoryBudget, toldUpTo } = task;
const flag = new Int32Array(task.stop);
const asked = () => Atomics.load(flag, 0) !== 0;
const send = (message: FromThread) => port.postMessage(message);

/** What a failure is called for the client; other errors are the service's own and not told. */
const CODES = [
  [DatasetError, "dataset_invalid"],
  [UnsupportedError, "model_not_trainable"],
  [CheckpointError, "model_not_trainable"],
  [SchedulerConfigError, "model_not_trainable"],
  [TrainingError, "training_failed"],
  [MemoryError, "too_much_memory"],
] as const;

// Linux knows it of each thread, and those that this one makes take it on; the main thread keeps answering.
setPriority(constants.priority.PRIORITY_LOW);

try {
  send(await run());
} catch (error) {
  send(answerTo(error as Error & { code?: unknown }));
}

async function run(): Promise<FromThread> {
  if (archive !== null && !existsSync(folders.dataset)) {
    const part = `${folders.work}/dataset.part`;
    rmSync(part, { recursive: true, force: true }); // a kill may have left it
    const bytes = await unpack(archive, part, limits, goOn);
    renameSync(part, folders.dataset);
    send({ type: "unpacked", bytes });
  }
  const dataset = rootOf(folders.dataset);
  refuseLinksOut(dataset, within);
  const finished = await train("controlnet", { ...folders, dataset }, settings, {
    toldUpTo,
    onPreparing: goOn,
    onMemory(need) {
      requireMemory(need, memoryBudget);
      send({ type: "memory", bytes: Math.ceil(totalOf(need)), description: describeNeed(need) });
    },
    onStep: (record, saved) => send({ type: "step", record, saved }),
    signal: {
      get aborted() {
        return asked();
      },
    },
  });
  return { type: finished ? "finished" : "stopped" };
}

function goOn(): void {
  if (asked()) throw new Stopped();
}

/** Where a dataset begins: archives often hold one folder with all of it. */
function rootOf(dataset: string): string {
  if (listingOf(dataset) !== undefined) return dataset;
  const folders = readdirSync(dataset, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  const holding = folders.map(({ name }) => join(dataset, name)).filter((inner) => listingOf(inner) !== undefined);
  return holding.length === 1 ? holding[0]! : dataset;
}

/** @throws DatasetError when a link leads out of the folder that it may use */
function refuseLinksOut(dataset: string, within: string): void {
  const root = realpathSync(within) + sep;
  for (const entry of readdirSync(dataset, { withFileTypes: true, recursive: true })) {
    if (!entry.isSymbolicLink()) continue;
    const path = join(entry.parentPath, entry.name);
    if (!existsSync(path) || !realpathSync(path).startsWith(root)) {
      throw new DatasetError(`the link "${path.slice(dataset.length + 1)}" leads out of the dataset, or nowhere`);
    }
  }
}

function answerTo(error: Error & { code?: unknown }): FromThread {
  if (error instanceof Stopped) return { type: "stopped" };
  if (error.code === "ENOSPC" || (error.cause as typeof error | undefined)?.code === "ENOSPC") {
    return { type: "disk_full" };
  }
  const known = CODES.find(([type]) => error instanceof type);
  if (known === undefined) throw error; // the thread dies of it, and the main thread hears why
  const message = error.message.replaceAll(folders.dataset, "the dataset").replaceAll(folders.work, "the disk");
  return { type: "failed", code: known[1], message };
}
