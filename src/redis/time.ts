import type { Redis } from "ioredis";

/** Redis' own clock in ms: the machines of a fleet need not agree on theirs. Scripts ask by lua/now.lua. */
export async function redisNow(redis: Redis): Promise<number> {
  const [seconds, microseconds] = await redis.time();
  return Number(seconds) * 1000 + Math.floor(Number(microseconds) / 1000);
}

const FRESH_MS = 60_000;

/** Redis' clock without asking each time: asked once a minute, and counted on between. */
export class RedisClock {
  #ahead = 0;
  #asked = Number.NEGATIVE_INFINITY;

  async set(ask: <T>(command: (redis: Redis) => Promise<T>) => Promise<T>): Promise<void> {
    if (performance.now() - this.#asked < FRESH_MS) return;
    const told = await ask(redisNow).catch((error) => {
      if (this.#asked === Number.NEGATIVE_INFINITY) throw error; // else what was said last goes on
      return this.now();
    });
    this.#asked = performance.now();
    this.#ahead = told - this.#asked;
  }

  /** In ms, once it is set. */
  now(): number {
    return Math.floor(this.#ahead + performance.now());
  }
}
