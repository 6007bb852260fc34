/**
 * How many requests an owner may make in a minute: those that change something, counted in Redis by all gateways together.
 * Without keys, of whom everybody is one owner, an address may: behind a proxy that is trusted, the client's.
 */
import rateLimit, { type FastifyRateLimitStore } from "@fastify/rate-limit";
import type { FastifyInstance } from "fastify";
import { OWNER_WITHOUT_KEYS } from "../config/api-keys.ts";
import type { Config } from "../config/config.ts";
import { Refused } from "../errors.ts";
import type { JobQueue } from "../jobs/queue.ts";
import { script } from "../redis/script.ts";
import { ownerOf } from "./auth.ts";

const WINDOW_MS = 60_000;
const FREE = new Set(["GET", "HEAD", "OPTIONS"]);

const runCount = script(new URL("lua/count-request.lua", import.meta.url));

export async function limitRate(
  app: FastifyInstance,
  { RATE_LIMIT: max, API_KEYS }: Pick<Config, "RATE_LIMIT" | "API_KEYS">,
  queue: JobQueue,
): Promise<void> {
  if (max === undefined) return;
  /** The plugin's own store knows nothing of a Redis that is away. */
  class Store implements FastifyRateLimitStore {
    incr(owner: string, done: Parameters<FastifyRateLimitStore["incr"]>[1]): void {
      queue
        .ask((redis) => runCount(redis, [`rate:${owner}`], WINDOW_MS))
        .then((answer) => {
          const [current, ttl] = answer as [number, number];
          done(null, { current, ttl });
        }, done);
    }
    child(): Store {
      return this;
    }
  }
  await app.register(rateLimit, {
    max,
    timeWindow: WINDOW_MS,
    store: Store,
    enableDraftSpec: true, // RateLimit-Limit, -Remaining and -Reset
    keyGenerator: API_KEYS.length > 0 ? ownerOf : ({ ip }) => `${OWNER_WITHOUT_KEYS}:${ip}`,
    allowList: (request) => FREE.has(request.method),
    errorResponseBuilder: (_request, { ttl }) =>
      new Refused(
        429,
        "rate_limited",
        `more than ${max} requests in a minute: try again in ${Math.ceil(ttl / 1000)} s`,
      ),
  });
}
