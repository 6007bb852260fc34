/** Which workers live, and what they offer. */
import { setImmediate, setTimeout as sleep } from "node:timers/promises";
import type { Redis } from "ioredis";
import { NotReady } from "../errors.ts";
import { redisNow } from "../redis/time.ts";
import { Catalog } from "../schema/catalog.ts";
import type { JobQueue } from "./queue.ts";

const CATALOG = "catalog";
/** Pub/sub channel: what MODELS_DIR holds has changed; the message is the id of a ControlNet. */
export const MODELS_CHANNEL = "models";
/** Sorted set: worker id, the time (ms of Redis' clock) until which it counts as live. */
export const WORKERS = "workers";

/** How many of the things that cannot be served are named where none can. */
const MOST_REASONS = 10;

/** A worker says that it lives every 2 s and counts as live for 6 s. */
export const HEARTBEAT_MS = 2000;
const LIVE_MS = 6000;

/** The fleet as a gateway sees it. */
export class Fleet {
  readonly #queue: Pick<JobQueue, "ask">;
  /** The latest that workers have said, read once as long as it stays the same. */
  #offer: { text: string; catalog: Catalog } | undefined;
  /** A look that has not begun yet: all who ask in one turn of the event loop share it. */
  #next: Promise<Catalog> | undefined;

  /** `queue` runs commands, or throws NotReady. */
  constructor(queue: Pick<JobQueue, "ask">) {
    this.#queue = queue;
  }

  /** What the workers offer. @throws {NotReady} as long as no worker has said it, or none of this release. */
  catalog(): Promise<Catalog> {
    this.#next ??= this.#look();
    return this.#next;
  }

  async #look(): Promise<Catalog> {
    await setImmediate();
    this.#next = undefined;
    const text = await this.#queue.ask((redis) => redis.get(CATALOG));
    if (text === null) throw new NotReady(["no worker has started yet"]);
    if (text !== this.#offer?.text) {
      const { data: catalog } = Catalog.safeParse(JSON.parse(text));
      if (catalog === undefined) throw new NotReady(["the workers are of another release than the gateway"]);
      this.#offer = { text, catalog };
    }
    return this.#offer.catalog;
  }

  /** How many things in MODELS_DIR cannot be served. @throws {NotReady} with the reasons. */
  async ready(): Promise<{ unavailable: number }> {
    if ((await this.#queue.ask(liveWorkers)) === 0) throw new NotReady(["no worker is running"]);
    const { models, skipped } = await this.catalog();
    if (models.length === 0) {
      const reasons = skipped.map(({ id, reason }) => `${id}: ${reason}`);
      throw new NotReady(["the workers found no model in MODELS_DIR", ...reasons.slice(0, MOST_REASONS)]);
    }
    return { unavailable: skipped.length };
  }
}

/** How many workers have said lately that they live. */
export async function liveWorkers(redis: Redis): Promise<number> {
  return redis.zcount(WORKERS, await redisNow(redis), "+inf");
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
  while (Date.now() < end && (await liveWorkers(redis)) > 0) {
    const catalog: Catalog | null = JSON.parse((await redis.get(CATALOG)) ?? "null");
    if (catalog?.controlnets.some(({ id }) => id === controlnet)) return;
    await sleep(50);
  }
}

/** Says that a worker has stopped. */
export async function farewell(redis: Redis, worker: string): Promise<void> {
  await redis.zrem(WORKERS, worker);
}
