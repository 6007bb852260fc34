/**
 * A generation worker: its main thread, which takes jobs, talks to Redis and storage, and always answers. The networks run
 * on the engine thread. When that thread dies the process dies with it; the job then goes to the next worker.
 */
import { createHash, randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { join } from "node:path";
import { Worker as Thread } from "node:worker_threads";
import { type Job, WaitingError, Worker } from "bullmq";
import { type Logger, pino } from "pino";
import { type Config, readConfigWithRedis } from "../src/config.ts";
import { ConfigError } from "../src/errors.ts";
import {
  type Claim,
  claim,
  connectPatiently,
  farewell,
  finish,
  HEARTBEAT_MS,
  heartbeat,
  type Outcome,
  QUEUE,
  reportProgress,
  WORKER_OPTIONS,
} from "../src/queue.ts";
import { type Catalog, GenerationRequest, imagesOf } from "../src/schema.ts";
import { inputKey, outputKey, Storage } from "../src/storage.ts";
import type { EngineSettings, FromEngine, ToEngine } from "./messages.ts";

type Ending = Extract<FromEngine, { type: "done" | "failed" | "canceled" }>;

interface Running {
  ended: Promise<Ending>;
  end: (ending: Ending) => void;
  onProgress: (step: number, total: number) => void;
}

/** The engine thread, seen from the main thread. */
class Engine {
  readonly catalog: Promise<Catalog>;
  readonly #thread: Thread;
  readonly #running = new Map<string, Running>();
  readonly #exited: Promise<void>;

  /** `onDeath` is called once when the thread ends, however it does. */
  constructor(file: URL, options: EngineSettings, log: Logger, onDeath: (error: Error) => void) {
    this.#thread = new Thread(file, { workerData: options });
    const { promise, resolve } = Promise.withResolvers<Catalog>();
    this.catalog = promise;
    let death = new Error("the engine thread has ended");
    this.#thread.on("error", (error) => (death = error instanceof Error ? error : new Error(String(error))));
    this.#exited = new Promise((exited) => {
      this.#thread.on("exit", () => {
        exited();
        onDeath(death);
      });
    });
    this.#thread.on("message", (message: FromEngine) => {
      if (message.type === "catalog") return resolve(message.catalog);
      if (message.type === "warning") return log.warn(message.message);
      const running = this.#running.get(message.id);
      if (message.type === "progress") return running?.onProgress(message.step, message.total);
      running?.end(message);
    });
  }

  generate(message: Extract<ToEngine, { type: "generate" }>, onProgress: Running["onProgress"]): Promise<Ending> {
    const { promise: ended, resolve: end } = Promise.withResolvers<Ending>();
    this.#running.set(message.id, { ended, end, onProgress });
    this.#thread.postMessage(message);
    return ended.finally(() => this.#running.delete(message.id));
  }

  /** Cancels what runs and ends the thread, after the step under way: a thread that is ended inside one aborts the process. */
  async stop(): Promise<void> {
    for (const id of this.#running.keys()) this.#thread.postMessage({ type: "cancel", id } satisfies ToEngine);
    await Promise.race([Promise.all([...this.#running.values()].map(({ ended }) => ended)), this.#exited]);
    await this.#thread.terminate();
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
  const storage = new Storage(join(config.DATA_DIR, "artifacts"));
  const redis = connectPatiently(config.REDIS_URL);
  redis.on("error", (error) => log.debug({ err: error }, "Redis connection"));
  let away = false;
  redis.on("close", () => {
    if (!away && !closing) log.warn("Redis is away");
    away = true;
  });
  redis.on("ready", () => {
    if (away) log.info("Redis is back");
    away = false;
  });

  const { promise: died, reject: die } = Promise.withResolvers<never>();
  const { promise: stopped, reject: stop } = Promise.withResolvers<never>();
  for (const nobodyListens of [died, stopped]) nobodyListens.catch(() => {});
  let closing = false;
  const engine = new Engine(
    engineFile,
    {
      modelsDir: config.MODELS_DIR,
      executionProvider: config.EXECUTION_PROVIDER,
      cacheDir: join(config.DATA_DIR, "cache"),
    },
    log,
    (error) => {
      if (closing) return;
      die(error);
      onDeath(error); // a running job stays as it is, for the next worker
    },
  );
  const catalog = await Promise.race([engine.catalog, died]);
  for (const { path, reason } of catalog.skipped) log.warn({ path, reason }, "skipped");
  const names = { models: catalog.models.map(({ id }) => id), controlnets: catalog.controlnets.map(({ id }) => id) };

  await heartbeat(redis, name, catalog);
  const beating = setInterval(() => {
    if (redis.status === "ready")
      heartbeat(redis, name, catalog).catch((error) => log.warn({ err: error }, "heartbeat"));
  }, HEARTBEAT_MS);

  /** Carries one generation out and ends its record, whatever comes; throws only to hand the job back. */
  async function perform(job: Job, token: string | undefined): Promise<void> {
    const claimed = await claim(redis, job.id!);
    if (claimed === undefined) return; // ended already, by a worker that died before it could say so to BullMQ
    const { record, attempt } = claimed;
    const jobLog = log.child({ generation: record.id, attempt });
    jobLog.info("started");
    let outcome: Outcome;
    try {
      outcome =
        attempt > config.MAX_TAKEOVERS + 1
          ? failure("worker_died", `given up: ${attempt - 1} workers died over it`)
          : await Promise.race([generate(claimed, jobLog), stopped]);
    } catch (error) {
      if (error instanceof HandBack) {
        await job.moveToWait(token);
        jobLog.info("handed back");
        throw new WaitingError();
      }
      jobLog.error({ err: error }, "internal error");
      outcome = failure("internal", "an error of the service, not of the request; its log says more");
    }
    const counted = await finish(redis, claimed, outcome);
    const error = outcome.status === "failed" ? outcome.error : undefined;
    jobLog.info({ error }, counted ? outcome.status : "another worker has taken it over");
  }

  async function generate(claimed: Claim, jobLog: Logger): Promise<Outcome> {
    const { id, metrics } = claimed.record;
    const { data: request, error } = GenerationRequest.safeParse(claimed.record.request);
    if (error) return failure("invalid_request", error.issues.map(({ message }) => message).join("; "));
    const images: Record<string, Uint8Array> = {};
    for (const hash of imagesOf(request)) {
      images[hash] ??= await storage.get(inputKey(id, hash));
    }
    const ending = await engine.generate({ type: "generate", id, request, images }, (step, total) => {
      reportProgress(redis, claimed, step, total).catch((cause) => jobLog.warn({ err: cause }, "progress"));
    });
    if (ending.type === "failed") return failure(ending.code, ending.message);
    if (ending.type === "canceled") return { status: "canceled" };
    for (const [n, { bytes }] of ending.images.entries()) await storage.put(outputKey(id, n), bytes);
    return {
      status: "succeeded",
      images: ending.images.map(({ bytes, ...image }) => ({
        ...image,
        sha256: createHash("sha256").update(bytes).digest("hex"),
      })),
      warnings: ending.warnings,
      metrics: { queue_ms: metrics.queue_ms, ...ending.metrics },
    };
  }

  const worker = new Worker(QUEUE, perform, { connection: redis, ...WORKER_OPTIONS });
  worker.on("error", (error) => log.warn({ err: error }, "queue"));
  await worker.waitUntilReady();
  log.info(names, "takes jobs");

  return {
    async close() {
      closing = true;
      clearInterval(beating);
      stop(new HandBack());
      await worker.close();
      await farewell(redis, name);
      redis.disconnect();
      await engine.stop();
    },
  };
}

/** The worker is asked to stop: the job it works on goes back to the queue. */
class HandBack extends Error {
  override readonly name = "HandBack";
}

function failure(code: string, message: string): Outcome {
  return { status: "failed", error: { code, message } };
}

if (import.meta.main) {
  try {
    const config = readConfigWithRedis(process.env);
    const log = pino({ level: config.LOG_LEVEL, name: "worker" });
    const engineFile = new URL("./engine.ts", import.meta.url);
    let worker: Awaited<ReturnType<typeof startWorker>> | undefined;
    let stopping: Promise<void> | undefined;
    const stop = async () => {
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
