/**
 * What a worker's main thread does for every kind of job: it takes jobs from their queue, hears of cancels, ends records
 * whatever comes, and gives back what runs when it is to stop.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Job, WaitingError, Worker } from "bullmq";
import type { Redis } from "ioredis";
import type { Logger } from "pino";
import type { Config } from "../src/config/config.ts";
import {
  type Claim,
  claimJob,
  finish,
  giveWay,
  handBack,
  isCancelRequested,
  type Outcome,
  type PlaceKept,
  warn,
} from "../src/jobs/attempt.ts";
import { CANCEL_CHANNEL } from "../src/jobs/keys.ts";
import type { JobKind } from "../src/jobs/kind.ts";
import type { JobRecord } from "../src/jobs/kinds.ts";
import { queueName, WORKER_OPTIONS } from "../src/jobs/queue.ts";
import { goFirst } from "../src/jobs/short.ts";
import { connectPatiently, whenItCan } from "../src/redis/connection.ts";
import { isFull, untilRoom } from "../src/storage/room.ts";

/** How long `close` waits for the step under way, to save it: `npm start` kills after 8 s. */
export const GRACE_MS = 5000;

/** What a kind of job is to its worker. */
export interface Work<R extends JobRecord> {
  /** Carries one out; nobody waits for it any more when `signal` aborts. @throws {HandBack} to give it to the next worker */
  perform(claimed: Claim<R>, log: Logger, signal: AbortSignal): Promise<Outcome>;
  /** Somebody wants a job to stop; it may be another worker's. */
  cancel(id: string): void;
  /** A job has ended: as `status` says, which is not the outcome's when it was canceled meanwhile; null = another worker has taken it over. */
  ended(claimed: Claim<R>, outcome: Outcome, status: Outcome["status"] | null): Promise<void> | void;
}

/** The worker is asked to stop: the job it works on goes back to the queue. */
export class HandBack extends Error {
  override readonly name = "HandBack";
}

/** Others have waited for their turn: the job goes on after them. */
export class TurnOver extends HandBack {
  /** What keeps its turn and gives way to one alone, by its id; null = to all whose turn it is. */
  readonly givesWay: (PlaceKept & { first: string }) | null;

  constructor(givesWay: (PlaceKept & { first: string }) | null = null) {
    super();
    this.givesWay = givesWay;
  }
}

export function failure(code: string, message: string): Outcome {
  return { status: "failed", error: { code, message } };
}

/** How long what finds no room waits before it is tried again. */
const STORE_AGAIN_MS = 500;

/**
 * What `store` gives, as soon as there is room for what it stores; "canceled" when the job was canceled meanwhile.
 * @throws {HandBack} when `signal` aborts before that
 */
export async function whenRoom<T>(
  redis: Redis,
  claimed: Claim,
  signal: AbortSignal,
  store: () => Promise<T>,
): Promise<T | "canceled"> {
  for (;;) {
    try {
      return await store();
    } catch (error) {
      if (!isFull(error)) throw error;
      await warn(redis, claimed, "the disk is full: the result waits for room").catch(() => {});
      await sleep(STORE_AGAIN_MS, undefined, { signal }).catch(() => {});
      if (await isCancelRequested(redis, claimed)) return "canceled";
      if (signal.aborted) throw new HandBack();
    }
  }
}

/** A worker's connection to Redis, which says in the log when it is away and when it is back, until `closing`. */
export function connectWorker(url: string, log: Logger, closing: () => boolean): Redis {
  const redis = connectPatiently(url);
  redis.on("error", (error) => log.debug({ err: error }, "Redis connection"));
  let away = false;
  redis.on("close", () => {
    if (!away && !closing()) log.warn("Redis is away");
    away = true;
  });
  redis.on("ready", () => {
    if (away) log.info("Redis is back");
    away = false;
  });
  return redis;
}

/**
 * Takes jobs until `close`, one at a time. `close` takes nothing new, waits for `saved` (for GRACE_MS at most) and gives
 * back what still runs.
 */
export async function takeJobs<R extends JobRecord>(
  kind: JobKind<R>,
  redis: Redis,
  { MAX_TAKEOVERS, DATA_DIR }: Pick<Config, "MAX_TAKEOVERS" | "DATA_DIR">,
  log: Logger,
  work: Work<R>,
): Promise<{ close(saved: Promise<unknown>): Promise<void> }> {
  const closing = new AbortController();
  let stop = () => {}; // hands back what runs

  /** Carries one out and ends its record, whatever comes; throws only to hand the job back. */
  async function take(job: Job, token: string | undefined): Promise<void> {
    // What it makes would find no room: it waits, and nothing is lost by it.
    const room = await untilRoom(DATA_DIR, closing.signal, () => log.warn("the disk is full: jobs wait"));
    if (!room) return giveBack(job, token);
    const claimed = await whenItCan(() => claimJob<R>(redis, job.id!));
    if (claimed === undefined) return; // ended already, by a worker that died before it could say so to BullMQ
    const { record, attempt, deaths } = claimed;
    const jobLog = log.child({ [kind.name]: record.id, attempt });
    jobLog.info({ from_step: record.progress.step }, "started");
    // One for each job: what is raced against a promise is held by it as long as it lives.
    const { promise: stopped, reject } = Promise.withResolvers<never>();
    stopped.catch(() => {});
    stop = () => reject(new HandBack());
    if (closing.signal.aborted) stop();
    let outcome: Outcome;
    try {
      outcome =
        deaths > MAX_TAKEOVERS
          ? failure("worker_died", `given up: ${deaths} workers died over it`)
          : await Promise.race([work.perform(claimed, jobLog, closing.signal), stopped]);
    } catch (error) {
      if (error instanceof HandBack) {
        await handOver(redis, worker, job, claimed, error, jobLog);
        jobLog.info("handed back");
        return giveBack(job, token);
      }
      jobLog.error({ err: error }, "internal error");
      outcome = failure("internal", "an error of the service, not of the request; its log says more");
    }
    await end(redis, work, claimed, outcome, jobLog);
  }

  const canceled = await hearCancels(redis, (id) => work.cancel(id));
  const worker = new Worker(queueName(kind), take, { connection: redis, ...WORKER_OPTIONS });
  worker.on("error", (error) => log.warn({ err: error }, "queue"));
  await worker.waitUntilReady();

  return {
    async close(saved) {
      const closed = worker.close(); // takes nothing new
      await Promise.race([saved, sleep(GRACE_MS, undefined, { ref: false })]);
      closing.abort();
      stop();
      await closed;
      canceled.disconnect();
    },
  };
}

async function end<R extends JobRecord>(
  redis: Redis,
  work: Work<R>,
  claimed: Claim<R>,
  outcome: Outcome,
  log: Logger,
): Promise<void> {
  const status = await whenItCan(() => finish(redis, claimed, outcome));
  const error = outcome.status === "failed" ? outcome.error : undefined;
  log.info({ error }, status ?? "another worker has taken it over");
  await work.ended(claimed, outcome, status);
}

/** Gives a job the rank that it waits with for the next worker, and lets those go first whose turn it is. */
async function handOver(
  redis: Redis,
  worker: Worker,
  job: Job,
  claimed: Claim,
  error: HandBack,
  log: Logger,
): Promise<void> {
  const rank = await handBack(redis, claimed);
  if (!(error instanceof TurnOver)) return job.changePriority({ priority: rank });
  const { givesWay } = error;
  const letGo = async (id: string) => {
    if (await goFirst(redis, id)) await (await Job.fromId(worker, id))?.changePriority({ priority: 0 }); // before all ranks
  };
  if (givesWay !== null) await letGo(givesWay.first).catch((cause) => log.warn({ err: cause }, "turn"));
  await job.changePriority({ priority: await giveWay(redis, claimed, givesWay) });
}

/** Puts a job back where it was waiting. @throws {WaitingError} which tells BullMQ so */
async function giveBack(job: Job, token: string | undefined): Promise<never> {
  await job.moveToWait(token);
  throw new WaitingError();
}

async function hearCancels(redis: Redis, cancel: (id: string) => void): Promise<Redis> {
  const canceled = redis.duplicate();
  canceled.on("error", () => {}); // those of the connection, heard already
  canceled.on("message", (_channel, id) => cancel(id));
  await canceled.subscribe(CANCEL_CHANNEL);
  return canceled;
}
