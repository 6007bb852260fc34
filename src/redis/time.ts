import type { Redis } from "ioredis";

/** Redis' own clock in ms: the machines of a fleet need not agree on theirs. Scripts ask by lua/now.lua. */
export async function redisNow(redis: Redis): Promise<number> {
  const [seconds, microseconds] = await redis.time();
  return Number(seconds) * 1000 + Math.floor(Number(microseconds) / 1000);
}
