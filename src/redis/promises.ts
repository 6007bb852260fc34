/** What a Redis must be like for the service to keep what it promises. */
import type { Redis } from "ioredis";
import { redisNow } from "./time.ts";

/** Why accepted jobs may be lost on this Redis, for its operator: a line each; none = they are not. */
export async function faultsOf(redis: Redis): Promise<string[]> {
  const [persistence, memory, [, fsync]] = await Promise.all([
    redis.info("persistence"),
    redis.info("memory"),
    // Who offers Redis as a service may not let its settings be read.
    redis.config("GET", "appendfsync").catch(() => []) as Promise<string[]>,
  ]);
  const field = (name: string) => new RegExp(`^${name}:(.*?)\\r?$`, "m").exec(`${persistence}\n${memory}`)?.[1];
  const faults: string[] = [];
  if (field("aof_enabled") === "0") {
    faults.push("Redis keeps no append-only file (appendonly no): what is accepted is lost when it ends");
  } else if (fsync !== undefined && fsync !== "always") {
    faults.push(`Redis' appendfsync is ${fsync}, not always: what was accepted last is lost when it is killed`);
  }
  const policy = field("maxmemory_policy");
  if (field("maxmemory") === "0") faults.push("Redis has no maxmemory: nothing is refused before its machine is full");
  else if (policy !== undefined && policy !== "noeviction") {
    faults.push(`Redis' maxmemory-policy is ${policy}, not noeviction: it forgets jobs when it is full`);
  }
  return faults;
}

/** Clocks that differ by less are taken to agree. */
const AGREE_MS = 5000;

/** By how many ms this machine's clock is ahead of Redis'; null = they agree. */
export async function clockAhead(redis: Redis): Promise<number | null> {
  const asked = performance.now();
  const told = await redisNow(redis);
  const ahead = Date.now() - (performance.now() - asked) / 2 - told;
  return Math.abs(ahead) < AGREE_MS ? null : Math.round(ahead);
}
