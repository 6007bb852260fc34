/**
 * A trainer, which is the worker of the queue of trainings: its main thread takes them, talks to Redis and storage, and always
 * answers. Each training computes on a thread of its own (workers/train/thread.ts), at the lowest priority. Any number of trainers
 * may run.
 */
import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import type { Logger } from "pino";
import type { Config } from "../../src/config/config.ts";
import type { Claim, Outcome } from "../../src/jobs/attempt.ts";
import { type TrainingRecord, training } from "../../src/jobs/training.ts";
import { openRegistry, publishMetrics } from "../../src/observe/metrics.ts";
import { openStorage } from "../../src/storage/open.ts";
import { connectWorker, failure, HandBack, TurnOver, takeJobs, type Work } from "../take-jobs.ts";
import { cleanUp, sweepTrainings } from "./clean-up.ts";
import { measureTrainings } from "./measures.ts";
import { performTraining, readRequest, type TrainingParts } from "./perform.ts";
import { type Running, startRunning } from "./running.ts";
import { TURNS, watchTurn } from "./turn.ts";

/** How often folders of trainings that a crash left behind are looked for. */
const SWEEP_MS = 60_000;

/** The trainings of a trainer, one at a time. */
class Trainings implements Work<TrainingRecord> {
  readonly #parts: TrainingParts;
  readonly #turns: Readonly<typeof TURNS>;
  /** The one under way. */
  running: Running | null = null;

  constructor(parts: TrainingParts, turns: Readonly<typeof TURNS>) {
    this.#parts = parts;
    this.#turns = turns;
  }

  async perform(claimed: Claim<TrainingRecord>, log: Logger): Promise<Outcome> {
    if (claimed.cancelRequested) return { status: "canceled" };
    const request = readRequest(claimed.record);
    if ("status" in request) return request;
    const job = startRunning(claimed.record);
    this.running = job;
    const { redis, config } = this.#parts;
    using turn = watchTurn(redis, claimed, job, config.TRAINING_TIMEOUT, this.#turns, log);
    const whole = performTraining(this.#parts, claimed, request, job, log);
    job.ended = whole.catch(() => {});
    try {
      return await whole;
    } catch (error) {
      if (!(error instanceof HandBack) || turn.over === null) throw error;
      if (turn.over === "turn") throw new TurnOver();
      return failure("timed_out", `it was not done after ${config.TRAINING_TIMEOUT} s of work`);
    } finally {
      this.running = null;
    }
  }

  cancel(id: string): void {
    if (this.running?.id === id) this.running.ask("cancel");
  }

  async ended({ record: { id, request } }: Claim<TrainingRecord>, _outcome: Outcome, status: Outcome["status"] | null) {
    if (status !== null) await cleanUp(this.#parts, id, request.name, status);
  }
}

/**
 * Starts a trainer; resolves when it takes jobs. `close` saves what runs and hands it back to the queue; it is not
 * `idle` when a step takes so long that its thread still runs.
 */
export async function startTrainer(
  config: Config & { REDIS_URL: string },
  log: Logger,
  turns: Readonly<typeof TURNS> = TURNS,
): Promise<{ close(): Promise<{ idle: boolean }> }> {
  const name = `trainer-${hostname()}-${process.pid}-${randomUUID().slice(0, 8)}`;
  let closing = false;
  const redis = connectWorker(config.REDIS_URL, log, () => closing);
  const registry = openRegistry(name);
  const parts: TrainingParts = { config, redis, storage: openStorage(config), measure: measureTrainings(registry) };
  const publishing = publishMetrics(redis, "trainer", name, registry);
  const sweeping = setInterval(() => {
    if (redis.status === "ready") sweepTrainings(parts).catch((error) => log.warn({ err: error }, "sweep"));
  }, SWEEP_MS);
  await sweepTrainings(parts);
  const trainings = new Trainings(parts, turns);
  const taking = await takeJobs(training, redis, config, log, trainings);
  log.info("takes trainings");

  return {
    async close() {
      closing = true;
      clearInterval(sweeping);
      publishing.stop();
      const { ended } = trainings.running ?? { ended: Promise.resolve() };
      trainings.running?.ask("yield");
      await taking.close(ended);
      redis.disconnect();
      return { idle: trainings.running === null };
    },
  };
}
