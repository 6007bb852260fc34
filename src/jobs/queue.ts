/**
 * How generations and trainings travel through Redis. A job's record (src/jobs/record.ts) is the truth. The BullMQ job of the same id
 * carries nothing but the id and only brings the record to a worker; one that gets lost is made again by the sweep.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Queue } from "bullmq";
import { Redis, ReplyError } from "ioredis";
import { NotReady } from "../errors.ts";
import { script } from "../redis/script.ts";
import { Catalog } from "../schema/catalog.ts";
import type { GenerationRequest } from "../schema/generation-request.ts";
import type { TrainingRequest } from "../schema/training-request.ts";
import { type Kind, kindOf } from "./kinds.ts";
import {
  ENDED,
  EVENT,
  type GenerationRecord,
  hasEnded,
  type Idempotency,
  parseRecord,
  type RecordOf,
  recordKey,
  remembered,
  requestCancel,
  type Submission,
  submit,
  type Terms,
} from "./record.ts";

/** BullMQ's queues. */
export const QUEUE = "generations";
export const TRAININGS = "trainings";
const CATALOG = "catalog";
/** Pub/sub channel: what MODELS_DIR holds has changed; the message is the id of a ControlNet. */
export const MODELS = "models";
export const WORKERS = "workers"; // sorted set: worker id, the time (ms of Redis' clock) until which it counts as live

/** Whose everything is as long as there are no API keys. */
export const OWNER_WITHOUT_KEYS = "default";

/** A worker says that it lives every 2 s and counts as live for 6 s. */
export const HEARTBEAT_MS = 2000;
const LIVE_MS = 6000;

/**
 * A dead worker's lock runs out after 4 s; a check every 2 s then finds its job at the second look: 8 s at most, where
 * 10 s are promised. BullMQ's own bound on takeovers is out of the way: the record's `attempt` counts them.
 */
export const WORKER_OPTIONS = {
  concurrency: 1,
  lockDuration: 4000,
  stalledInterval: 2000,
  maxStalledCount: 1_000_000,
} as const;

/** How long whoever waits for a message goes without looking, should one be lost with a connection. */
const LOOK_AGAIN_MS = 5000;
/** And when Redis has not answered. */
const REDIS_AWAY_MS = 500;

/** How long the gateway waits for Redis before it answers 503. */
const DEADLINE_MS = 2000;

/** The places (from 1) of the keys that there are not. */
const runMissing = script(`
local missing = {}
for place, key in ipairs(KEYS) do
  if redis.call('EXISTS', key) == 0 then table.insert(missing, place) end
end
return missing`);

/** What Redis answers as long as it cannot do what it is asked: full, not able to save, a replica. Other errors are ours. */
const CANNOT_NOW = /^(BUSY|LOADING|MASTERDOWN|MISCONF|NOREPLICAS|OOM|READONLY)\b/;

/** A connection for a worker: commands wait as long as Redis is away, and go on when it is back. */
export function connectPatiently(url: string): Redis {
  return new Redis(url, { maxRetriesPerRequest: null, retryStrategy });
}

/** A connection for the gateway: a command fails at once when Redis is away. */
function connectImpatiently(url: string): Redis {
  return new Redis(url, {
    maxRetriesPerRequest: null,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    connectTimeout: DEADLINE_MS,
    retryStrategy,
  });
}

function retryStrategy(times: number): number {
  return Math.min(50 * times, 500);
}

/** Whoever waits for messages about a job. */
export interface Listening extends Disposable {
  /** Resolves at the first message since listening began, when `signal` aborts, or when the time is over. */
  next(signal: AbortSignal, milliseconds: number): Promise<void>;
}

/** The gateway's end: submits generations and trainings, reads them, waits for them. Every method throws NotReady when Redis is away, or cannot now. */
export class GenerationQueue {
  readonly #redis: Redis;
  readonly #subscriber: Redis;
  readonly #queues: Record<Kind, Queue>;
  /** The latest that workers have said, read once as long as it stays the same. */
  #offer: { text: string; catalog: Catalog } | undefined;
  /** By channel and id: whoever waits for the next message. */
  readonly #waiting = new Map<string, Set<() => void>>();

  /** `onError` hears of connection errors, which are no caller's to handle. */
  constructor(url: string, onError: (error: Error) => void) {
    this.#redis = connectImpatiently(url);
    this.#subscriber = connectPatiently(url);
    for (const connection of [this.#redis, this.#subscriber]) connection.on("error", onError);
    this.#queues = { generation: this.#openQueue("generation"), training: this.#openQueue("training") };
    this.#subscriber.on("message", (channel, id) => this.#wake(`${channel} ${id}`));
    this.#subscriber.on("ready", () => {
      for (const topic of this.#waiting.keys()) this.#wake(topic); // what was published meanwhile was missed: look again
    });
    this.#subscriber.subscribe(ENDED, EVENT).catch(onError);
  }

  /**
   * Writes the record, which accepts it, then the job; should that fail, the sweep makes it. The images must be stored
   * already.
   */
  async submit(
    id: string,
    request: GenerationRequest | TrainingRequest,
    owner = OWNER_WITHOUT_KEYS,
    terms: Terms = {},
  ): Promise<Submission> {
    const submission = await this.ask((redis) => submit(redis, id, request, owner, terms));
    if (submission.outcome === "accepted") await this.#add(id, submission.rank).catch(() => {});
    return submission;
  }

  /** The job that brings a record to a worker; nothing happens when there is one. */
  async enqueue(id: string): Promise<void> {
    await this.#add(id, Number(await this.ask((redis) => redis.hget(recordKey(id), "rank"))));
  }

  async #add(id: string, priority: number): Promise<void> {
    const options = { jobId: id, priority, removeOnComplete: true, removeOnFail: true, attempts: 3, backoff: 1000 };
    await this.#within(() => this.#queues[kindOf(id)].add(kindOf(id), {}, options));
  }

  /** Those of the ids that have no job. */
  async withoutJob(ids: readonly string[]): Promise<string[]> {
    const missing = await this.ask((redis) => {
      const keys = ids.map((id) => this.#queues[kindOf(id)].toKey(id));
      return runMissing(redis, keys) as Promise<number[]>;
    });
    return missing.map((place) => ids[place - 1]!);
  }

  /** See {@link requestCancel}. */
  async cancel(id: string): ReturnType<typeof requestCancel> {
    const outcome = await this.ask((redis) => requestCancel(redis, id));
    if (outcome === "canceled") await this.#within(() => this.#queues[kindOf(id)].remove(id)).catch(() => {}); // else a worker finds it ended
    return outcome;
  }

  /** See {@link remembered}. */
  remembered(owner: string, idempotency: Idempotency): ReturnType<typeof remembered> {
    return this.ask((redis) => remembered(redis, owner, idempotency));
  }

  /** undefined when there is none of that kind, or it is another owner's. */
  async read<K extends Kind>(kind: K, id: string, owner: string): Promise<RecordOf<K> | undefined> {
    if (kindOf(id) !== kind) return undefined;
    const fields = await this.#within(() => this.#redis.hgetall(recordKey(id)));
    return fields.owner === owner ? (parseRecord(id, fields) as RecordOf<K> | undefined) : undefined;
  }

  /** The generation when it has ended, or as it stands when `signal` aborts. Redis may go and come back meanwhile. */
  async readWhenEnded(known: GenerationRecord, owner: string, signal: AbortSignal): Promise<GenerationRecord> {
    for (;;) {
      using listening = this.#listen(ENDED, known.id); // before the look, so that no end falls between the two
      const read = await this.read("generation", known.id, owner).catch(() => undefined);
      const record = read ?? known;
      if (hasEnded(record) || signal.aborted) return record;
      await listening.next(signal, read === undefined ? REDIS_AWAY_MS : LOOK_AGAIN_MS);
    }
  }

  /** Listens for events of a job, from now on. */
  listenForEvents(id: string): Listening {
    return this.#listen(EVENT, id);
  }

  /** What the workers offer. @throws {NotReady} as long as no worker has said it, or none of this release. */
  async catalog(): Promise<Catalog> {
    const text = await this.#within(() => this.#redis.get(CATALOG));
    if (text === null) throw new NotReady(["no worker has started yet"]);
    if (text !== this.#offer?.text) {
      const { data: catalog } = Catalog.safeParse(JSON.parse(text));
      if (catalog === undefined) throw new NotReady(["the workers are of another release than the gateway"]);
      this.#offer = { text, catalog };
    }
    return this.#offer.catalog;
  }

  /** @throws {NotReady} with the reasons. */
  async ready(): Promise<void> {
    const live = await this.#within(async () => {
      const now = await redisNow(this.#redis);
      return this.#redis.zcount(WORKERS, now, "+inf");
    });
    if (live === 0) throw new NotReady(["no worker is running"]);
    const { models } = await this.catalog();
    if (models.length === 0) throw new NotReady(["the workers found no model in MODELS_DIR"]);
  }

  /** Runs commands of another part of the service on the gateway's connection. */
  ask<T>(command: (redis: Redis) => Promise<T>): Promise<T> {
    return this.#within(() => command(this.#redis));
  }

  async close(): Promise<void> {
    this.#redis.disconnect();
    this.#subscriber.disconnect();
    await Promise.all(Object.values(this.#queues).map((queue) => queue.close().catch(() => {}))); // a Redis that is away is no reason not to stop
  }

  /** BullMQ's Queue stays broken when its first command fails: then it is opened again. */
  #openQueue(kind: Kind): Queue {
    const queue = new Queue(kind === "training" ? TRAININGS : QUEUE, { connection: this.#redis });
    queue.on("error", () => {}); // those of the connection, heard already
    queue.waitUntilReady().catch(() => {
      if (this.#redis.status !== "end") setTimeout(() => (this.#queues[kind] = this.#openQueue(kind)), 100);
    });
    return queue;
  }

  #listen(channel: string, id: string): Listening {
    const topic = `${channel} ${id}`;
    const { promise: woken, resolve: wake } = Promise.withResolvers<void>();
    const waiting = this.#waiting.get(topic) ?? new Set();
    this.#waiting.set(topic, waiting.add(wake));
    return {
      async next(signal, milliseconds) {
        const { promise: over, resolve: end } = Promise.withResolvers<unknown>();
        const timer = setTimeout(end, milliseconds);
        signal.addEventListener("abort", end);
        if (!signal.aborted) await Promise.race([woken, over]);
        signal.removeEventListener("abort", end);
        clearTimeout(timer);
      },
      [Symbol.dispose]: () => {
        waiting.delete(wake);
        if (waiting.size === 0 && this.#waiting.get(topic) === waiting) this.#waiting.delete(topic);
      },
    };
  }

  #wake(topic: string): void {
    for (const wake of this.#waiting.get(topic) ?? []) wake();
  }

  async #within<T>(command: () => Promise<T>): Promise<T> {
    if (this.#redis.status !== "ready") throw new NotReady(["Redis is away"]);
    let timer: NodeJS.Timeout | undefined;
    const deadline = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new NotReady([`Redis has not answered for ${DEADLINE_MS} ms`])), DEADLINE_MS);
    });
    try {
      return await Promise.race([command(), deadline]);
    } catch (cause) {
      if (cause instanceof NotReady) throw cause;
      if (!(cause instanceof ReplyError)) throw new NotReady(["Redis is away"], { cause });
      const { message } = cause as Error;
      throw CANNOT_NOW.test(message) ? new NotReady([`Redis answers ${message}`], { cause }) : cause;
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Says that a worker lives, and what it offers. */
export async function heartbeat(redis: Redis, worker: string, catalog: Catalog): Promise<void> {
  const now = await redisNow(redis);
  await redis
    .multi()
    .zadd(WORKERS, now + LIVE_MS, worker)
    .zremrangebyscore(WORKERS, "-inf", now)
    .set(CATALOG, JSON.stringify(catalog))
    .exec();
}

/** Waits until the workers offer a ControlNet, for so many ms; not at all when none is live. */
export async function untilOffered(redis: Redis, controlnet: string, milliseconds: number): Promise<void> {
  const end = Date.now() + milliseconds;
  while (Date.now() < end && (await redis.zcount(WORKERS, await redisNow(redis), "+inf")) > 0) {
    const catalog: Catalog | null = JSON.parse((await redis.get(CATALOG)) ?? "null");
    if (catalog?.controlnets.some(({ id }) => id === controlnet)) return;
    await sleep(50);
  }
}

/** Says that a worker has stopped. */
export async function farewell(redis: Redis, worker: string): Promise<void> {
  await redis.zrem(WORKERS, worker);
}

/** Redis' own clock in ms: the machines of a fleet need not agree on theirs. */
async function redisNow(redis: Redis): Promise<number> {
  const [seconds, microseconds] = await redis.time();
  return Number(seconds) * 1000 + Math.floor(Number(microseconds) / 1000);
}
