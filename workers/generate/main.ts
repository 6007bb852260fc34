/**
 * A generation worker: its main thread, which takes jobs, talks to Redis and storage, and always answers. The networks run
 * on the engine thread. When that thread dies the process dies with it; the job then goes to the next worker.
 */
import { createHash, randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { join } from "node:path";
import { Worker as Thread } from "node:worker_threads";
import type { Logger } from "pino";
import { type Config, readConfigWithRedis } from "../../src/config/config.ts";
import { ConfigError } from "../../src/errors.ts";
import { farewell, HEARTBEAT_MS, heartbeat, MODELS, QUEUE } from "../../src/jobs/queue.ts";
import { type Claim, type GenerationRecord, type Outcome, reportProgress, saveState } from "../../src/jobs/record.ts";
import { openLog } from "../../src/observe/log.ts";
import { openRegistry, publishMetrics } from "../../src/observe/metrics.ts";
import { type Catalog, GenerationRequest, type ImageRecord, imagesOf } from "../../src/schema/schema.ts";
import { inputKey, outputKey } from "../../src/storage/keys.ts";
import { openStorage } from "../../src/storage/open.ts";
import { measureGenerations } from "../runtime/measures.ts";
import { connectWorker, failure, GRACE_MS, HandBack, takeJobs } from "../take-jobs.ts";
import type { EngineSettings, FromEngine, ToEngine } from "./messages.ts";

type Ending = Extract<FromEngine, { type: "done" | "failed" | "canceled" | "yielded" }>;
type Progress = Extract<FromEngine, { type: "progress" }>;
type State = Extract<FromEngine, { type: "state" }>;

/** How long a generation that has run out of time may take to stop before the whole worker counts as stuck. */
const STUCK_MS = 60_000;

interface Running {
  ended: Promise<Ending>;
  end: (ending: Ending) => void;
  hear: (message: Progress | State) => void;
}

/** The engine thread, seen from the main thread. */
class Engine {
  readonly #thread: Thread;
  readonly #running = new Map<string, Running>();
  readonly #exited: Promise<void>;

  /**
   * `onCatalog` is called whenever the engine has read MODELS_DIR, the first time before it takes anything; `onDeath` once
   * when the thread ends, however it does.
   */
  constructor(
    file: URL,
    options: EngineSettings,
    log: Logger,
    onCatalog: (catalog: Catalog) => void,
    onDeath: (error: Error) => void,
  ) {
    this.#thread = new Thread(file, { workerData: options });
    let death = new Error("the engine thread has ended");
    this.#thread.on("error", (error) => (death = error instanceof Error ? error : new Error(String(error))));
    this.#exited = new Promise((exited) => {
      this.#thread.on("exit", () => {
        exited();
        onDeath(death);
      });
    });
    this.#thread.on("message", (message: FromEngine) => {
      if (message.type === "catalog") return onCatalog(message.catalog);
      if (message.type === "warning") return log.warn(message.message);
      const running = this.#running.get(message.id);
      if (message.type === "progress" || message.type === "state") return running?.hear(message);
      running?.end(message);
    });
  }

  generate(message: Extract<ToEngine, { type: "generate" }>, hear: Running["hear"]): Promise<Ending> {
    const { promise: ended, resolve: end } = Promise.withResolvers<Ending>();
    this.#running.set(message.id, { ended, end, hear });
    this.#thread.postMessage(message);
    return ended.finally(() => this.#running.delete(message.id));
  }

  /** Asks a generation to stop before its next step; nothing happens when it does not run here. */
  ask(type: "cancel" | "yield", id: string): void {
    if (this.#running.has(id)) this.#thread.postMessage({ type, id } satisfies ToEngine);
  }

  /** Asks for MODELS_DIR to be read again, this ControlNet's files too should they have been loaded. */
  reload(controlnet: string | null): void {
    this.#thread.postMessage({ type: "reload", controlnet } satisfies ToEngine);
  }

  /** Asks what runs to be saved and to stop; resolves when it has. */
  async yieldAll(): Promise<void> {
    for (const id of this.#running.keys()) this.ask("yield", id);
    await this.#idle();
  }

  /** Cancels what runs and ends the thread, after the step under way: a thread that is ended inside one aborts the process. */
  async stop(): Promise<void> {
    for (const id of this.#running.keys()) this.ask("cancel", id);
    await this.#idle();
    await this.#thread.terminate();
  }

  async #idle(): Promise<void> {
    await Promise.race([Promise.all([...this.#running.values()].map(({ ended }) => ended)), this.#exited]);
  }
}

/**
 * Starts a worker; resolves when it takes jobs. `close` stops it at once and hands the running job back to the queue.
 * `onDeath` is called when the engine thread has died: nothing is done any more.
 */
export async function startWorker(
  config: Config & { REDIS_URL: string },
  engineFile: URL,
  log: Logger,
  onDeath: (error: Error) => void,
): Promise<{ close(): Promise<void> }> {
  const name = `${hostname()}-${process.pid}-${randomUUID().slice(0, 8)}`;
  const storage = openStorage(config);
  let closing = false;
  const redis = connectWorker(config.REDIS_URL, log, () => closing);
  const { promise: read, resolve: start, reject: die } = Promise.withResolvers<void>();
  read.catch(() => {}); // nobody listens once it has started
  let catalog: Catalog | undefined;
  const beat = () => heartbeat(redis, name, catalog!).catch((error) => log.warn({ err: error }, "heartbeat"));
  let engineStuck = false;
  const engine = new Engine(
    engineFile,
    {
      modelsDir: config.MODELS_DIR,
      executionProvider: config.EXECUTION_PROVIDER,
      cacheDir: join(config.DATA_DIR, "cache"),
      memoryBudget: config.MEMORY_BUDGET,
    },
    log,
    (newest) => {
      const known = new Set(catalog?.skipped.map(({ path }) => path));
      for (const { path, reason } of newest.skipped) if (!known.has(path)) log.warn({ path, reason }, "skipped");
      const names = { models: newest.models.map(({ id }) => id), controlnets: newest.controlnets.map(({ id }) => id) };
      log.info(names, "offers");
      catalog = newest;
      start();
      if (redis.status === "ready") void beat();
    },
    (error) => {
      if (closing) return;
      die(error);
      onDeath(error); // a running job stays as it is, for the next worker
    },
  );
  await read;
  await heartbeat(redis, name, catalog!);
  const registry = openRegistry(`worker-${name}`);
  const measure = measureGenerations(registry);
  const publishing = publishMetrics(redis, "worker", `worker-${name}`, registry);
  const beating = setInterval(() => {
    if (redis.status === "ready") void beat();
  }, HEARTBEAT_MS);

  const changes = redis.duplicate();
  changes.on("error", () => {}); // those of the connection, heard already
  changes.on("message", (_channel, controlnet) => engine.reload(controlnet));
  await changes.subscribe(MODELS);
  changes.on("ready", () => engine.reload(null)); // what was said meanwhile was missed

  async function generate(claimed: Claim<GenerationRecord>, jobLog: Logger): Promise<Outcome> {
    const { id, metrics } = claimed.record;
    if (claimed.cancelRequested) return { status: "canceled" };
    const { data: request, error } = GenerationRequest.safeParse(claimed.record.request);
    if (error) return failure("invalid_request", error.issues.map(({ message }) => message).join("; "));
    const files: Record<string, Uint8Array> = {};
    for (const hash of imagesOf(request)) {
      files[hash] ??= await storage.get(inputKey(id, hash));
    }
    let steps = 0;
    const saving = { states: 0, bytes: 0, ms: 0 };
    let saved: Promise<unknown> = Promise.resolve();
    const hear = (message: Progress | State) => {
      if (message.type === "progress") {
        const { step, total, preview } = message;
        steps++;
        reportProgress(redis, claimed, { step, total, preview: preview && jpegUri(preview) }).then(
          (goOn) => goOn || engine.ask("cancel", id),
          (cause) => jobLog.warn({ err: cause }, "progress"),
        );
      } else {
        saving.states++;
        saving.bytes = message.bytes.length;
        saving.ms += message.ms;
        saved = saveState(redis, claimed, message.step, message.bytes).catch((cause) =>
          jobLog.warn({ err: cause }, "saving the state"),
        );
      }
    };
    const { promise: stuck, resolve: giveUp } = Promise.withResolvers<Outcome>();
    const outOfTime = failure("timed_out", `it was not done after ${config.RUN_TIMEOUT} s`);
    let timedOut = false;
    const timers = [
      setTimeout(() => {
        timedOut = true;
        engine.ask("cancel", id);
      }, config.RUN_TIMEOUT * 1000).unref(),
      setTimeout(() => giveUp(outOfTime), config.RUN_TIMEOUT * 1000 + STUCK_MS).unref(),
    ];
    const running = engine.generate({ type: "generate", id, request, images: files, state: claimed.state }, hear);
    const ending = await Promise.race([running, stuck]).finally(() => {
      for (const timer of timers) clearTimeout(timer);
    });
    if ("status" in ending) {
      engineStuck = true;
      return ending;
    }
    jobLog.info({ steps, saving }, "steps done");
    if (ending.type === "yielded") {
      await saved;
      throw new HandBack();
    }
    if (timedOut && ending.type === "canceled") return outOfTime;
    if (ending.type === "failed") return failure(ending.code, ending.message);
    if (ending.type === "canceled") return { status: "canceled" };
    const images: ImageRecord[] = [];
    for (const { bytes, ...image } of ending.images) {
      const sha256 = createHash("sha256").update(bytes).digest("hex");
      await storage.put(outputKey(id, sha256), bytes);
      images.push({ ...image, sha256 });
    }
    return {
      status: "succeeded",
      images,
      warnings: ending.warnings,
      metrics: { queue_ms: metrics.queue_ms, ...ending.metrics },
    };
  }

  const taking = await takeJobs<GenerationRecord>(QUEUE, redis, config, log, {
    perform: generate,
    cancel: (id) => engine.ask("cancel", id),
    ended({ record }, outcome, status) {
      if (status !== null && "metrics" in outcome) measure(record.request.model, outcome.metrics);
      if (engineStuck) onDeath(new Error("the engine thread does not answer"));
    },
  });
  log.info("takes jobs");

  return {
    async close() {
      closing = true;
      clearInterval(beating);
      publishing.stop();
      await taking.close(engine.yieldAll());
      await farewell(redis, name);
      redis.disconnect();
      changes.disconnect();
      await engine.stop();
    },
  };
}

function jpegUri(bytes: Uint8Array): string {
  return `data:image/jpeg;base64,${Buffer.from(bytes).toString("base64")}`;
}

if (import.meta.main) {
  try {
    const config = readConfigWithRedis(process.env);
    const log = openLog("worker", config);
    const engineFile = new URL("./engine.ts", import.meta.url);
    let worker: Awaited<ReturnType<typeof startWorker>> | undefined;
    let stopping: Promise<void> | undefined;
    const stop = async () => {
      // With Redis away nothing can be handed back: the job is taken over when its lock has run out.
      setTimeout(() => process.exit(1), GRACE_MS + 2000).unref();
      stopping ??= worker?.close();
      await stopping;
      process.exit(0);
    };
    for (const signal of ["SIGTERM", "SIGINT", "disconnect"] as const) process.on(signal, stop);
    worker = await startWorker(config, engineFile, log, (error) => {
      log.fatal({ err: error }, "the engine thread died");
      process.exit(1);
    });
  } catch (error) {
    console.error(error instanceof ConfigError ? error.message : error);
    process.exit(1);
  }
}
