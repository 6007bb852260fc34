/**
 * A generation worker: its main thread takes jobs, talks to Redis and storage, and always answers. The networks run on the engine
 * thread. When that thread dies the process dies with it; the job then goes to the next worker.
 */
import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { join } from "node:path";
import type { Redis } from "ioredis";
import type { Logger } from "pino";
import type { Config } from "../../src/config/config.ts";
import { annotation } from "../../src/jobs/annotation.ts";
import { MODELS_CHANNEL } from "../../src/jobs/fleet.ts";
import { type GenerationRecord, generation } from "../../src/jobs/generation.ts";
import { openRegistry, publishMetrics } from "../../src/observe/metrics.ts";
import { openStorage } from "../../src/storage/open.ts";
import { connectWorker, takeJobs, type Work } from "../take-jobs.ts";
import { annotationWork } from "./annotation-work.ts";
import { EngineClient } from "./engine-client.ts";
import { MapThread } from "./maps/thread-client.ts";
import { measureAnnotations, measureGenerations } from "./measures.ts";
import type { EngineSettings } from "./messages.ts";
import { type GenerationParts, performGeneration } from "./perform.ts";
import { Presence } from "./presence.ts";
import { stateOf, watchShelves } from "./shelf-watch.ts";

const engineSettings = (config: Config): EngineSettings => ({
  modelsDir: config.MODELS_DIR,
  executionProvider: config.EXECUTION_PROVIDER,
  precision: config.PRECISION,
  cacheDir: join(config.DATA_DIR, "cache"),
  memoryBudget: config.MEMORY_BUDGET,
  maxPixels: config.MAX_PIXELS,
  files: { PROVENANCE: config.PROVENANCE, C2PA_CERT: config.C2PA_CERT, C2PA_KEY: config.C2PA_KEY },
});

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
  let closing = false;
  const redis = connectWorker(config.REDIS_URL, log, () => closing);
  const presence = new Presence(redis, name, log);
  const { promise: read, resolve: start, reject: die } = Promise.withResolvers<void>();
  read.catch(() => {}); // nobody listens once it has started
  const shelves = await stateOf(config.MODELS_DIR);
  const engine = new EngineClient(
    engineFile,
    engineSettings(config),
    log,
    (catalog) => {
      presence.offer(catalog);
      start();
    },
    (error) => {
      if (closing) return;
      die(error);
      onDeath(error); // a running job stays as it is, for the next worker
    },
  );
  await read;
  await presence.begin();
  const registry = openRegistry(`worker-${name}`);
  const publishing = publishMetrics(redis, "worker", `worker-${name}`, registry);
  const changes = await hearChanges(redis, engine);
  const watching = watchShelves(config.MODELS_DIR, shelves, () => engine.reload());
  const thread = new MapThread();
  const parts = { config, redis, storage: openStorage(config), engine };
  const taking = await takeJobs(generation, redis, config, log, workOf(parts, measureGenerations(registry), onDeath));
  const annotating = annotationWork({ ...parts, thread }, measureAnnotations(registry), onDeath);
  const takingAnnotations = await takeJobs(annotation, redis, config, log, annotating);
  log.info("takes jobs");

  return {
    async close() {
      closing = true;
      presence.stop();
      watching.abort();
      publishing.stop();
      const saved = engine.yieldAll();
      await Promise.all([taking.close(saved), takingAnnotations.close(saved)]);
      await thread.close();
      await presence.end();
      redis.disconnect();
      changes.disconnect();
      await engine.stop();
    },
  };
}

/** Has the engine read MODELS_DIR again when somebody says that there is something new in it. */
async function hearChanges(redis: Redis, engine: EngineClient): Promise<Redis> {
  const changes = redis.duplicate();
  changes.on("error", () => {}); // those of the connection, heard already
  changes.on("message", () => engine.reload());
  await changes.subscribe(MODELS_CHANNEL);
  changes.on("ready", () => engine.reload()); // what was said meanwhile was missed
  return changes;
}

function workOf(
  parts: Omit<GenerationParts, "onStuck">,
  measure: ReturnType<typeof measureGenerations>,
  onDeath: (error: Error) => void,
): Work<GenerationRecord> {
  let stuck = false;
  const onStuck = () => {
    stuck = true;
  };
  return {
    perform: (claimed, log, signal) => performGeneration({ ...parts, onStuck }, claimed, log, signal),
    cancel: (id) => parts.engine.ask("cancel", id),
    ended({ record }, outcome, status) {
      if (status !== null && "controls" in outcome) measure(record.request.model, outcome.metrics);
      if (stuck) onDeath(new Error("the engine thread does not answer"));
    },
  };
}
