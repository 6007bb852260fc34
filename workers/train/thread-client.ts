/** A training's thread, seen from the trainer's main thread, which tells the record what the thread has done. */
import { createReadStream } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker as Thread } from "node:worker_threads";
import type { Redis } from "ioredis";
import type { Logger } from "pino";
import { type Claim, noteMemory, reportStep } from "../../src/jobs/attempt.ts";
import { countFiles, countMore } from "../../src/jobs/files-made.ts";
import type { TrainingRecord } from "../../src/jobs/training.ts";
import { span } from "../../src/observe/span.ts";
import type { ValidationPicture } from "../../src/schema/training.ts";
import { lossKey, validationKey } from "../../src/storage/keys.ts";
import type { Storage } from "../../src/storage/storage.ts";
import type { Running } from "./running.ts";
import type { FromThread, TrainingTask } from "./thread.ts";
import { workSize } from "./work-size.ts";

type Ending = Exclude<FromThread, { type: "step" | "memory" | "unpacked" }>;
type Step = Extract<FromThread, { type: "step" }>;

/** How long a step that could not be told of waits before it is tried again. */
const TELL_AGAIN_MS = 1000;

/** How often what a training has on the disk is counted: rows of a large dataset are made for hours before the first step. */
const COUNT_MS = 5000;

/** What a training is told with. */
export interface Telling {
  readonly redis: Redis;
  readonly storage: Storage;
  /** Takes the seconds of a step of a training on this base. */
  readonly measure: (base: string, seconds: number) => void;
}

/** Runs a training's thread to its end, whatever that is. @throws what the thread has died of */
export async function compute(
  telling: Telling,
  task: TrainingTask,
  claimed: Claim<TrainingRecord>,
  job: Running,
  log: Logger,
): Promise<Ending> {
  const thread = new Thread(new URL("./thread.ts", import.meta.url), { workerData: task });
  const { promise, resolve, reject } = Promise.withResolvers<Ending>();
  let told: Promise<unknown> = Promise.resolve();
  let before: number | null = null;
  thread.on("message", (message: FromThread) => {
    if (message.type === "memory") {
      log.info({ memory_bytes: message.bytes }, `needs ${message.description}`);
      noteMemory(telling.redis, claimed, message.bytes).catch((error) =>
        log.warn({ err: error }, "not told of its memory"),
      );
      return;
    }
    if (message.type === "unpacked") {
      countFiles(telling.redis, claimed.record.id, "unpacked", message.bytes).catch((error) =>
        log.warn({ err: error }, "its files are not counted"),
      );
      return;
    }
    if (message.type !== "step") return resolve(message);
    const now = performance.now();
    if (before !== null) telling.measure(claimed.record.request.base, (now - before) / 1000);
    before = message.saved === null ? now : null; // what comes next has waited for the saving
    told = told.then(() => tellSurely(telling, message, task, claimed, job, log)); // none after one that could not be told of
    told.catch(() => {}); // it is in the log
  });
  const count = () => countWork(telling.redis, claimed.record.id, task, log);
  let counted = Promise.resolve();
  const counting = setInterval(() => (counted = count()), COUNT_MS);
  thread.on("error", reject);
  thread.on("exit", () => reject(new Error("the training's thread has ended without a word")));
  const ending = await promise.finally(() => told.catch(() => {})).finally(() => clearInterval(counting));
  await thread.terminate();
  // None after this one: it may be cleaned up next. A Redis that is away keeps nobody who is to stop.
  await Promise.race([counted.then(count), sleep(TELL_AGAIN_MS, undefined, { ref: false })]);
  const all = await told.then(
    () => true,
    () => false,
  );
  return all || job.asked !== "yield" ? ending : { type: "stopped" };
}

/** Tells until it is told, or the training is to stop: what goes on from it then tells of what was not told of. */
async function tellSurely(
  telling: Telling,
  message: Step,
  task: TrainingTask,
  claimed: Claim<TrainingRecord>,
  job: Running,
  log: Logger,
): Promise<void> {
  for (;;) {
    try {
      return await tell(telling, message, task, claimed, job);
    } catch (error) {
      log.warn({ err: error, step: message.record.step }, "a step is not told of yet");
      // The files have gone with another worker that has taken the training over, or the training is to stop.
      if ((error as NodeJS.ErrnoException).code === "ENOENT" || job.asked !== null) throw error;
      await Promise.race([job.stopped, sleep(TELL_AGAIN_MS, undefined, { ref: false })]);
    }
  }
}

async function tell(
  { redis, storage }: Telling,
  { record: { step, loss, learning_rate }, saved }: Step,
  { folders: { work } }: TrainingTask,
  claimed: Claim<TrainingRecord>,
  job: Running,
): Promise<void> {
  const { id, progress } = claimed.record;
  const validation = saved && (await span("store", { id }, () => keep(storage, redis, id, step, saved, work)));
  const report = { step, total: progress.total, loss, learning_rate, validation };
  if (!(await reportStep(redis, claimed, report))) job.ask("cancel");
  job.told = step;
}

/** Counts what the training has on this disk as its owner's, until it is cleaned up. */
async function countWork(redis: Redis, id: string, { folders, archive }: TrainingTask, log: Logger): Promise<void> {
  await countFiles(redis, id, "work", await workSize(folders.work, archive)).catch((error) =>
    log.warn({ err: error }, "its files are not counted"),
  );
}

/** Keeps what a training shows at a step at which it was saved. */
async function keep(
  storage: Storage,
  redis: Redis,
  id: string,
  step: number,
  pictures: readonly string[],
  work: string,
) {
  let [ofPictures, ofCurve] = [0, 0];
  for (const [index, file] of pictures.entries()) {
    const bytes = await readFile(file);
    await storage.put(validationKey(id, step, index), bytes);
    ofPictures += bytes.length;
  }
  for (const type of ["csv", "png"] as const) {
    const file = join(work, `loss.${type}`);
    const received = await storage.receive(createReadStream(file), (await stat(file)).size);
    await storage.keep(received, lossKey(id, type));
    ofCurve += received.bytes;
  }
  await countMore(redis, id, "pictures", ofPictures, step);
  await countFiles(redis, id, "curve", ofCurve);
  return pictures.map((_, index): ValidationPicture => ({ step, index }));
}
