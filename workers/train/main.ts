/**
 * A training worker: its main thread, which takes trainings, talks to Redis and storage, and always answers. Each training
 * computes on a thread of its own (training/thread.ts), at the lowest priority. Any number of these may run.
 */
import { randomUUID } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker as Thread } from "node:worker_threads";
import type { Logger } from "pino";
import { type Config, DEMO_MODELS_DIR, readConfigWithRedis } from "../../src/config/config.ts";
import { ConfigError } from "../../src/errors.ts";
import { MODELS, TRAININGS, untilOffered } from "../../src/jobs/queue.ts";
import {
  type Claim,
  hasEnded,
  type Outcome,
  parseRecord,
  recordKey,
  reportStep,
  type TrainingRecord,
  warn,
} from "../../src/jobs/record.ts";
import { openLog } from "../../src/observe/log.ts";
import { openRegistry, publishMetrics } from "../../src/observe/metrics.ts";
import { TrainingRequest, TrainingSettings, type ValidationPicture } from "../../src/schema/schema.ts";
import { datasetKey, inputKey, lossKey, validationKey } from "../../src/storage/keys.ts";
import { openStorage } from "../../src/storage/open.ts";
import { RESERVE_BYTES } from "../../src/storage/room.ts";
import { DatasetError, datasetFolder } from "../../src/training/dataset.ts";
import { connectWorker, failure, GRACE_MS, HandBack, takeJobs } from "../take-jobs.ts";
import { measureTrainings } from "./measures.ts";
import { Place, PublishError } from "./publish.ts";
import type { FromThread, Task } from "./thread.ts";

type Ending = Exclude<FromThread, { type: "step" }>;
type Step = Extract<FromThread, { type: "step" }>;

/** Files of a dataset, and bytes of one of them: far more than a picture or a listing has. */
const MOST_ENTRIES = 2_000_000;
const MOST_FILE_BYTES = 256 * 2 ** 20;
/** How long a training whose disk is full waits before it tries again. */
const NO_ROOM_MS = 10_000;
/** How long a step that could not be told of waits before it is tried again. */
const TELL_AGAIN_MS = 1000;
/** How long a training that has ended waits for the generation workers to have its ControlNet. */
const OFFERED_MS = 30_000;
/** How often folders of trainings that a crash left behind are looked for. */
const SWEEP_MS = 60_000;

/** The training under way. */
interface Running {
  readonly id: string;
  asked: "cancel" | "yield" | null;
  /** The last step that is told of for certain. */
  told: number;
  readonly stop: Int32Array<SharedArrayBuffer>;
  /** Resolves when it is asked to stop. */
  readonly stopped: Promise<void>;
  ask(what: "cancel" | "yield"): void;
  /** Resolves when nothing of it runs any more. */
  ended: Promise<unknown>;
}

function start({ id, progress }: TrainingRecord): Running {
  const { promise: stopped, resolve } = Promise.withResolvers<void>();
  return {
    id,
    asked: null,
    told: progress.step,
    stop: new Int32Array(new SharedArrayBuffer(4)),
    stopped,
    ask(what) {
      this.asked = this.asked === "cancel" ? "cancel" : what;
      Atomics.store(this.stop, 0, 1);
      resolve();
    },
    ended: Promise.resolve(),
  };
}

/**
 * Starts a training worker; resolves when it takes jobs. `close` saves what runs and hands it back to the queue; it is not
 * `idle` when a step takes so long that its thread still runs.
 */
export async function startTrainer(
  config: Config & { REDIS_URL: string },
  log: Logger,
): Promise<{ close(): Promise<{ idle: boolean }> }> {
  const name = `trainer-${hostname()}-${process.pid}-${randomUUID().slice(0, 8)}`;
  const storage = openStorage(config);
  const trainings = join(config.DATA_DIR, "trainings");
  let closing = false;
  const redis = connectWorker(config.REDIS_URL, log, () => closing);
  const registry = openRegistry(name);
  const measure = measureTrainings(registry);
  const publishing = publishMetrics(redis, "trainer", name, registry);
  let running: Running | null = null;

  const folderOf = (id: string) => join(trainings, id);

  async function perform(claimed: Claim<TrainingRecord>, jobLog: Logger): Promise<Outcome> {
    const { record } = claimed;
    if (claimed.cancelRequested) return { status: "canceled" };
    const { data: request, error } = TrainingRequest.safeParse(record.request);
    if (error) return failure("invalid_request", error.issues.map(({ message }) => message).join("; "));
    const job = start(record);
    running = job;
    const whole = carryOut(claimed, request, job, jobLog);
    job.ended = whole.catch(() => {});
    try {
      return await whole;
    } finally {
      running = null;
    }
  }

  async function carryOut(
    claimed: Claim<TrainingRecord>,
    request: TrainingRequest,
    job: Running,
    jobLog: Logger,
  ): Promise<Outcome> {
    const { id, request: about } = claimed.record;
    if (config.MODELS_DIR === DEMO_MODELS_DIR) {
      return failure("models_not_writable", "MODELS_DIR is not set: there is no place for what is trained");
    }
    const place = new Place(config.MODELS_DIR, request.name, id);
    await place.sweep();
    for (;;) {
      try {
        if (!(await place.isDone())) {
          await place.check();
          const task = await prepare(claimed, request, job);
          if ("status" in task) return task;
          const ending = await compute(task, claimed, job, jobLog);
          if (ending.type === "failed") return failure(ending.code, ending.message);
          if (job.asked === "cancel") return { status: "canceled" };
          if (ending.type === "stopped") throw new HandBack();
          if (ending.type === "disk_full") throw new NoRoom();
          await place.bring(task.folders.output, { request: about });
        }
        await redis.publish(MODELS, request.name);
        await untilOffered(redis, request.name, OFFERED_MS);
        return { status: "succeeded", controlnet: request.name };
      } catch (error) {
        if (error instanceof PublishError) return failure(error.code, error.message);
        if (!(error instanceof NoRoom) && (error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
        jobLog.warn("the disk is full");
        const warning = "the trainer's disk is full: the training waits, and goes on when there is room";
        // Redis may have no room either: the training waits all the same.
        await warn(redis, claimed, warning).catch((cause) => jobLog.warn({ err: cause }, "the warning is not told"));
        await Promise.race([job.stopped, sleep(NO_ROOM_MS, undefined, { ref: false })]);
        if (job.asked === "cancel") return { status: "canceled" };
        if (job.asked === "yield") throw new HandBack();
      }
    }
  }

  /** Lays a training's files out for its thread, or says why it cannot be done. */
  async function prepare(
    { record: { id }, attempt }: Claim<TrainingRecord>,
    request: TrainingRequest,
    { told, stop }: Running,
  ): Promise<Task | Outcome> {
    const folder = folderOf(id);
    const work = await takeOver(folder, attempt);
    const base = join(config.MODELS_DIR, request.base);
    if (!(await isFolder(base))) return failure("unknown_model", `this trainer has no model folder "${request.base}"`);
    let [dataset, within, archive] = [join(folder, "dataset"), folder, null as string | null];
    if (request.dataset.startsWith("folder:")) {
      const { DATASETS_DIR } = config;
      const name = request.dataset.slice("folder:".length);
      if (DATASETS_DIR === undefined) {
        return failure("dataset_invalid", `the trainer has no DATASETS_DIR, so that it cannot have "${name}"`);
      }
      try {
        [dataset, within] = [datasetFolder(DATASETS_DIR, name), DATASETS_DIR];
      } catch (error) {
        if (error instanceof DatasetError) return failure("dataset_invalid", `on the trainer, ${error.message}`);
        throw error;
      }
    } else {
      archive = join(work, "archive");
      await rm(archive, { force: true });
      await storage.toFile(datasetKey(id), archive);
    }
    let validation: string | null = null;
    for (const [i, { image }] of request.validation.entries()) {
      validation = join(work, "validation.json");
      await writeFile(join(work, `hint-${i}`), await storage.get(inputKey(id, image)));
    }
    if (validation !== null) {
      const list = request.validation.map(({ prompt }, i) => ({ prompt, image: `hint-${i}` }));
      await writeFile(validation, JSON.stringify(list));
    }
    return {
      folders: { base, dataset, output: join(work, "result"), work, validation },
      archive,
      limits: {
        entries: MOST_ENTRIES,
        fileBytes: MOST_FILE_BYTES,
        totalBytes: config.MAX_DATASET_BYTES,
        freeBytes: RESERVE_BYTES,
      },
      within,
      settings: settingsOf(request),
      toldUpTo: told,
      stop: stop.buffer,
    };
  }

  /** Runs a training's thread to its end, whatever that is. @throws what the thread has died of */
  async function compute(task: Task, claimed: Claim<TrainingRecord>, job: Running, jobLog: Logger): Promise<Ending> {
    const { id, request, progress } = claimed.record;
    const thread = new Thread(new URL("./thread.ts", import.meta.url), { workerData: task });
    const { promise, resolve, reject } = Promise.withResolvers<Ending>();
    let telling: Promise<unknown> = Promise.resolve();
    let before: number | null = null;

    async function tell({ record: { step, loss, learning_rate }, saved }: Step): Promise<void> {
      const validation = saved && (await keep(id, step, saved, task.folders.work));
      const report = { step, total: progress.total, loss, learning_rate, validation };
      if (!(await reportStep(redis, claimed, report))) job.ask("cancel");
      job.told = step;
    }

    /** Tells until it is told, or the training is to stop: what goes on from it then tells of what was not told of. */
    async function tellSurely(message: Step): Promise<void> {
      for (;;) {
        try {
          return await tell(message);
        } catch (error) {
          jobLog.warn({ err: error, step: message.record.step }, "a step is not told of yet");
          // The files have gone with another worker that has taken the training over, or the training is to stop.
          if ((error as NodeJS.ErrnoException).code === "ENOENT" || job.asked !== null) throw error;
          await Promise.race([job.stopped, sleep(TELL_AGAIN_MS, undefined, { ref: false })]);
        }
      }
    }

    thread.on("message", (message: FromThread) => {
      if (message.type !== "step") return resolve(message);
      const now = performance.now();
      if (before !== null) measure(request.base, (now - before) / 1000);
      before = message.saved === null ? now : null; // what comes next has waited for the saving
      telling = telling.then(() => tellSurely(message)); // none after one that could not be told of
      telling.catch(() => {}); // it is in the log
    });
    thread.on("error", reject);
    thread.on("exit", () => reject(new Error("the training's thread has ended without a word")));
    const ending = await promise.finally(() => telling.catch(() => {}));
    await thread.terminate();
    const told = await telling.then(
      () => true,
      () => false,
    );
    return told || job.asked !== "yield" ? ending : { type: "stopped" };
  }

  /** Keeps what a training shows at a step at which it was saved. */
  async function keep(id: string, step: number, pictures: readonly string[], work: string) {
    for (const [index, file] of pictures.entries()) {
      await storage.put(validationKey(id, step, index), await readFile(file));
    }
    for (const type of ["csv", "png"] as const) {
      await storage.put(lossKey(id, type), await readFile(join(work, `loss.${type}`)));
    }
    return pictures.map((_, index): ValidationPicture => ({ step, index }));
  }

  /** Removes what a training that has ended has no more use for; its work folder last, which says that it is not done. */
  async function cleanUp(id: string, name: string, status: string): Promise<void> {
    const place = new Place(config.MODELS_DIR, name, id);
    if (status === "succeeded") await place.sweep();
    // It can have been canceled while it was brought to its place.
    else if (await place.withdraw()) await redis.publish(MODELS, name);
    await storage.remove(datasetKey(id));
    await rm(folderOf(id), { recursive: true, force: true });
  }

  /** Cleans up after trainings that ended without their worker, and removes the folders of those whose record is gone. */
  async function sweep(): Promise<void> {
    for (const id of await readdir(trainings).catch(() => [])) {
      if (!id.startsWith("trn_")) continue;
      const record = parseRecord(id, await redis.hgetall(recordKey(id))) as TrainingRecord | undefined;
      // How one has ended whose record is gone nobody knows: what it has brought stays.
      if (record === undefined) await rm(folderOf(id), { recursive: true, force: true });
      else if (hasEnded(record)) await cleanUp(id, record.request.name, record.status);
    }
  }

  const sweeping = setInterval(() => {
    if (redis.status === "ready") sweep().catch((error) => log.warn({ err: error }, "sweep"));
  }, SWEEP_MS);
  await sweep();

  const taking = await takeJobs<TrainingRecord>(TRAININGS, redis, config, log, {
    perform,
    cancel: (id) => running?.id === id && running.ask("cancel"),
    async ended({ record: { id, request } }, _outcome, status) {
      if (status !== null) await cleanUp(id, request.name, status);
    },
  });
  log.info("takes trainings");

  return {
    async close() {
      closing = true;
      clearInterval(sweeping);
      publishing.stop();
      const { ended } = running ?? { ended: Promise.resolve() };
      running?.ask("yield");
      await taking.close(ended);
      redis.disconnect();
      return { idle: running === null };
    },
  };
}

/** There was no room on the disk. */
class NoRoom extends Error {
  override readonly name = "NoRoom";
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

if (import.meta.main) {
  try {
    const config = readConfigWithRedis(process.env);
    const log = openLog("trainer", config);
    let trainer: Awaited<ReturnType<typeof startTrainer>> | undefined;
    let stopping: Promise<{ idle: boolean }> | undefined;
    // A thread that is ended inside a step aborts the process; what it has saved is on the disk.
    const leave = () => process.kill(process.pid, "SIGKILL");
    const stop = async () => {
      setTimeout(leave, GRACE_MS + 2000).unref();
      stopping ??= trainer?.close();
      if ((await stopping)?.idle === false) leave();
      process.exit(0);
    };
    for (const signal of ["SIGTERM", "SIGINT", "disconnect"] as const) process.on(signal, stop);
    trainer = await startTrainer(config, log);
  } catch (error) {
    console.error(error instanceof ConfigError ? error.message : error);
    process.exit(1);
  }
}
