/** How much memory Redis uses, and how much it may. */
import { totalmem } from "node:os";
import type { Redis } from "ioredis";

export interface RedisMemory {
  used: number;
  /** Its `maxmemory`; null = it has none. */
  most: number | null;
}

/**
 * The share of `maxmemory` up to which jobs are accepted. The rest is for what comes of them: at its maxmemory Redis refuses
 * what takes any, and a job that runs could neither be told of nor end.
 */
const ACCEPTING = 0.8;

export async function redisMemory(redis: Redis): Promise<RedisMemory> {
  const info = await redis.info("memory");
  const number = (name: string) => Number(new RegExp(`^${name}:(\\d+)`, "m").exec(info)?.[1] ?? 0);
  const most = number("maxmemory");
  return { used: number("used_memory"), most: most === 0 ? null : most };
}

/** Whether it may take so many bytes more. */
export function hasMemory({ used, most }: RedisMemory, bytes: number): boolean {
  return most === null || used + bytes <= ACCEPTING * most;
}

const MEGABYTE = 2 ** 20;
/**
 * What a Redis of this machine's own may use: an eighth of the memory, and no more than what stays free on the disk
 * (src/storage/room.ts): when Redis writes its file anew, both lie there for a while.
 */
export function maxMemory(): number {
  const limit = process.constrainedMemory();
  const memory = Math.min(limit > 0 ? limit : Number.POSITIVE_INFINITY, totalmem());
  return Math.floor(Math.min(Math.max(memory / 8, 64 * MEGABYTE), 512 * MEGABYTE));
}
