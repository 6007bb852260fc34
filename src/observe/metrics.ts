/**
 * What processes measure of themselves, in prom-client's registries. Those without a port publish theirs in Redis, and
 * the gateway's `/metrics` shows them beside its own: there is one place to ask, and a process that dies stays away
 * from it. What is the state of the whole service, such as the queue, the gateway reads from Redis when it is asked.
 */
import type { Redis } from "ioredis";
import { collectDefaultMetrics, type MetricObjectWithValues, type MetricValue, Registry } from "prom-client";

const PROCESSES = "metrics:processes"; // sorted set: process, the time (ms of its own clock) until which its numbers count
const publishedKey = (process: string) => `metrics:${process}`;
/** Hash: starts of each kind of process. One that grows while nobody deploys is a process that dies. */
export const STARTS = "metrics:starts";
const EVERY_MS = 2000;
const FRESH_MS = 5 * EVERY_MS;

export type Published = MetricObjectWithValues<MetricValue<string>>[];

/** A registry with memory, CPU, garbage collection and event loop of this process, all labelled with its name. */
export function openRegistry(process: string): Registry {
  const registry = new Registry();
  registry.setDefaultLabels({ process });
  collectDefaultMetrics({ register: registry });
  return registry;
}

/** Counts the start of a process, and publishes its registry until `stop`. */
export function publishMetrics(redis: Redis, role: string, process: string, registry: Registry): { stop(): void } {
  const publish = async () => {
    if (redis.status !== "ready") return;
    const numbers = JSON.stringify(await registry.getMetricsAsJSON());
    const until = Date.now() + FRESH_MS;
    await redis
      .multi()
      .set(publishedKey(process), numbers, "PX", FRESH_MS)
      .zadd(PROCESSES, String(until), process)
      .exec();
  };
  const published = () => publish().catch(() => {}); // Redis is away: nothing is lost but a point of a curve
  redis.hincrby(STARTS, role, 1).catch(() => {});
  published();
  const timer = setInterval(published, EVERY_MS);
  timer.unref();
  return { stop: () => clearInterval(timer) };
}

/** The numbers of every process that has published lately. */
export async function publishedMetrics(redis: Redis): Promise<Published[]> {
  const now = Date.now();
  await redis.zremrangebyscore(PROCESSES, "-inf", String(now));
  const processes = await redis.zrange(PROCESSES, "0", "-1");
  if (processes.length === 0) return [];
  const texts = await redis.mget(processes.map(publishedKey));
  return texts.flatMap((text) => (text === null ? [] : [JSON.parse(text)]));
}
