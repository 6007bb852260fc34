/**
 * The one place that knows how generations travel through Redis.
 *
 * A generation's record, the hash `generation:<id>`, is the truth. The BullMQ job of the same id carries nothing but the
 * id and only brings the record to a worker. Each time a worker takes a generation its `attempt` goes up by one, and only
 * the latest attempt may end it, so a worker that was thought dead cannot overwrite the result of the one after it.
 */
import { Queue } from "bullmq";
import { Redis } from "ioredis";
import { NotReady } from "./errors.ts";
import { Catalog, evaluations, type Generation, type GenerationRequest, type ImageRecord } from "./schema.ts";
import { OUTBOX } from "./webhook.ts";

export const QUEUE = "generations";
const CATALOG = "catalog";
const WORKERS = "workers"; // sorted set: worker id, the time (ms of Redis' clock) until which it counts as live
const ENDED = "generation:ended"; // pub/sub channel: ids of generations that have ended

/** Whose everything is as long as there are no API keys. */
export const OWNER_WITHOUT_KEYS = "default";

const recordKey = (id: string) => `generation:${id}`;

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

/** How long the gateway waits for Redis before it answers 503. */
const DEADLINE_MS = 2000;

export type GenerationRecord = Omit<Generation, "object" | "images" | "metadata"> & { images: ImageRecord[] };

const ENDED_STATUSES: ReadonlySet<string> = new Set(["succeeded", "failed", "canceled"]);
export function hasEnded({ status }: { status: string }): boolean {
  return ENDED_STATUSES.has(status);
}

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

/** The gateway's end: submits generations, reads them, waits for them. Every method throws NotReady when Redis is away. */
export class GenerationQueue {
  readonly #redis: Redis;
  readonly #subscriber: Redis;
  #queue: Queue;
  /** By generation id: whoever waits for its end. */
  readonly #waiting = new Map<string, Set<() => void>>();

  /** `onError` hears of connection errors, which are no caller's to handle. */
  constructor(url: string, onError: (error: Error) => void) {
    this.#redis = connectImpatiently(url);
    this.#subscriber = connectPatiently(url);
    for (const connection of [this.#redis, this.#subscriber]) connection.on("error", onError);
    this.#queue = this.#openQueue();
    this.#subscriber.on("message", (_channel, id) => this.#wake(id));
    this.#subscriber.on("ready", () => {
      for (const id of this.#waiting.keys()) this.#wake(id); // what was published meanwhile was missed: look again
    });
    this.#subscriber.subscribe(ENDED).catch(onError);
  }

  /**
   * Writes the record, then the job. The images must be stored already. Until both are there the record is on its way
   * out, so that a request that was refused half-way leaves nothing behind.
   */
  async submit(id: string, request: GenerationRequest, owner = OWNER_WITHOUT_KEYS): Promise<GenerationRecord> {
    const { webhook } = request;
    const fields = {
      owner,
      ...(webhook && { webhook_url: webhook.url, webhook_events: webhook.events.join() }),
      status: "queued",
      request: JSON.stringify(request),
      step: "0",
      total: String(evaluations(request)),
      created_at: new Date().toISOString(),
    };
    await this.#within(() => this.#redis.multi().hset(recordKey(id), fields).expire(recordKey(id), 60).exec());
    await this.#within(() =>
      this.#queue.add(
        "generate",
        {},
        { jobId: id, removeOnComplete: true, removeOnFail: true, attempts: 3, backoff: 1000 },
      ),
    );
    await this.#within(() => this.#redis.persist(recordKey(id)));
    return parseRecord(id, fields)!;
  }

  /** undefined when there is none, or it is another owner's. */
  async read(id: string, owner: string): Promise<GenerationRecord | undefined> {
    const fields = await this.#within(() => this.#redis.hgetall(recordKey(id)));
    return fields.owner === owner ? parseRecord(id, fields) : undefined;
  }

  /** The generation when it has ended, or as it stands when `signal` aborts. Redis may go and come back meanwhile. */
  async readWhenEnded(known: GenerationRecord, owner: string, signal: AbortSignal): Promise<GenerationRecord> {
    const { id } = known;
    const { promise: aborted, resolve: abort } = Promise.withResolvers<void>();
    signal.addEventListener("abort", () => abort());
    for (;;) {
      const { promise: woken, resolve: wake } = Promise.withResolvers<void>();
      const waiting = this.#waiting.get(id) ?? new Set();
      this.#waiting.set(id, waiting.add(wake)); // before the look, so that no end falls between the two
      try {
        const record = (await this.read(id, owner).catch(() => undefined)) ?? known;
        if (hasEnded(record) || signal.aborted) return record;
        await Promise.race([woken, aborted]);
      } finally {
        waiting.delete(wake);
        if (waiting.size === 0) this.#waiting.delete(id);
      }
    }
  }

  /** What the workers offer. @throws {NotReady} as long as no worker has said it. */
  async catalog(): Promise<Catalog> {
    const text = await this.#within(() => this.#redis.get(CATALOG));
    if (text === null) throw new NotReady(["no worker has started yet"]);
    return Catalog.parse(JSON.parse(text));
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
    await this.#queue.close().catch(() => {}); // a Redis that is away is no reason not to stop
  }

  /** BullMQ's Queue stays broken when its first command fails: then it is opened again. */
  #openQueue(): Queue {
    const queue = new Queue(QUEUE, { connection: this.#redis });
    queue.on("error", () => {}); // those of the connection, heard already
    queue.waitUntilReady().catch(() => {
      if (this.#redis.status !== "end") setTimeout(() => (this.#queue = this.#openQueue()), 100);
    });
    return queue;
  }

  #wake(id: string): void {
    for (const wake of this.#waiting.get(id) ?? []) wake();
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
      throw cause instanceof NotReady ? cause : new NotReady(["Redis is away"], { cause });
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

/** Says that a worker has stopped. */
export async function farewell(redis: Redis, worker: string): Promise<void> {
  await redis.zrem(WORKERS, worker);
}

/** Redis' own clock in ms: the machines of a fleet need not agree on theirs. */
async function redisNow(redis: Redis): Promise<number> {
  const [seconds, microseconds] = await redis.time();
  return Number(seconds) * 1000 + Math.floor(Number(microseconds) / 1000);
}

export interface Claim {
  record: GenerationRecord;
  /** 1 for the first worker that takes it, 2 after one takeover, … */
  attempt: number;
}

const CLAIM = `${OUTBOX}
local status = redis.call('HGET', KEYS[1], 'status')
if status ~= 'queued' and status ~= 'processing' then return 0 end
redis.call('PERSIST', KEYS[1])
redis.call('HSET', KEYS[1], 'status', 'processing', 'step', 0)
if redis.call('HSETNX', KEYS[1], 'started_at', ARGV[1]) == 1 then announce(KEYS[1], 'started') end
return redis.call('HINCRBY', KEYS[1], 'attempt', 1)`;

/** Takes a generation for this worker; undefined when it has ended or is gone, and nothing is left to do. */
export async function claim(redis: Redis, id: string): Promise<Claim | undefined> {
  const attempt = Number(await redis.eval(CLAIM, 1, recordKey(id), new Date().toISOString()));
  const record = attempt > 0 ? parseRecord(id, await redis.hgetall(recordKey(id))) : undefined;
  return record === undefined ? undefined : { record, attempt };
}

const PROGRESS = `
if redis.call('HGET', KEYS[1], 'attempt') ~= ARGV[1] then return 0 end
return redis.call('HSET', KEYS[1], 'step', ARGV[2], 'total', ARGV[3])`;

export async function reportProgress(redis: Redis, { record, attempt }: Claim, step: number, total: number) {
  await redis.eval(PROGRESS, 1, recordKey(record.id), attempt, step, total);
}

const FINISH = `${OUTBOX}
if redis.call('HGET', KEYS[1], 'status') ~= 'processing' then return 0 end
if redis.call('HGET', KEYS[1], 'attempt') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 4))
announce(KEYS[1], redis.call('HGET', KEYS[1], 'status'))
redis.call('PUBLISH', ARGV[2], ARGV[3])
return 1`;

export type Outcome =
  | (Pick<GenerationRecord, "images" | "warnings" | "metrics"> & { status: "succeeded" })
  | { status: "failed"; error: NonNullable<GenerationRecord["error"]> }
  | { status: "canceled" };

/** Ends a generation; false when another attempt has taken it over, whose outcome counts instead. */
export async function finish(redis: Redis, { record, attempt }: Claim, outcome: Outcome): Promise<boolean> {
  const { status, ...rest } = outcome;
  const fields = Object.entries(rest).flatMap(([name, value]) => [name, JSON.stringify(value)]);
  const ended = ["status", status, "ended_at", new Date().toISOString(), ...fields];
  return (await redis.eval(FINISH, 1, recordKey(record.id), attempt, ENDED, record.id, ...ended)) === 1;
}

/** The record from the fields of its hash; undefined when they are none. */
export function parseRecord(id: string, fields: Record<string, string>): GenerationRecord | undefined {
  const { status, request, created_at } = fields;
  if (status === undefined || request === undefined || created_at === undefined) return undefined;
  const json = <T>(name: string, absent: T): T => (fields[name] === undefined ? absent : JSON.parse(fields[name]));
  const started_at = fields.started_at ?? null;
  return {
    id,
    status: status as GenerationRecord["status"],
    progress: { step: Number(fields.step), total: Number(fields.total) },
    request: JSON.parse(request),
    images: json("images", []),
    warnings: json("warnings", []),
    error: json("error", null),
    metrics: json("metrics", {
      queue_ms: started_at === null ? null : Math.max(0, Date.parse(started_at) - Date.parse(created_at)),
      load_ms: null,
      encode_ms: null,
      denoise_ms: null,
      decode_ms: null,
      steps_per_second: null,
    }),
    created_at,
    started_at,
    ended_at: fields.ended_at ?? null,
  };
}
