/**
 * A webhook worker: takes the deliveries that are due, signs them and POSTs them until the endpoint has answered 2xx or
 * the schedule is used up. Any number of them may run; what one dies over is due again when its lease runs out.
 */
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import { Histogram, type Registry } from "prom-client";
import type { Config } from "../../src/config/config.ts";
import { Addresses } from "../../src/jobs/addresses.ts";
import { openRegistry, publishMetrics } from "../../src/observe/metrics.ts";
import { span } from "../../src/observe/span.ts";
import { Outbound } from "../../src/outbound/client.ts";
import { connectPatiently } from "../../src/redis/connection.ts";
import { markGone, postpone, settle, type Taken, takeDue } from "../../src/webhooks/outbox.ts";
import { type AttemptParts, tryOnce } from "./attempt.ts";
import { Lanes, PLACES } from "./lanes.ts";
import { outcomeOf, POLICY, type Policy } from "./policy.ts";

/** How often it looks when nothing is due. */
const IDLE_MS = 25;
/** How long `close` waits for the attempts under way; `npm start` kills after 8 s. */
const GRACE_MS = 5000;

/** Takes the seconds of an attempt and what became of its delivery. */
type Measure = (outcome: string, seconds: number) => void;

function measureAttempts(registry: Registry): Measure {
  const attempts = new Histogram({
    name: "controlnet_webhook_attempt_seconds",
    help: "Attempts to deliver a webhook, by what became of the delivery.",
    labelNames: ["outcome"],
    buckets: [0.01, 0.05, 0.2, 1, 5, 15],
    registers: [registry],
  });
  return (outcome, seconds) => attempts.observe({ outcome }, seconds);
}

/** Delivers until `close`, which lets the attempts under way end; what takes too long is left to the next process. */
export function startDeliverer(config: Config & { REDIS_URL: string }, log: Logger, policy = POLICY) {
  const redis = connectPatiently(config.REDIS_URL);
  redis.on("error", (error) => log.debug({ err: error }, "Redis connection"));
  const outbound = new Outbound(config);
  const name = `deliver-${hostname()}-${process.pid}`;
  const registry = openRegistry(name);
  const measure = measureAttempts(registry);
  const publishing = publishMetrics(redis, "deliver", name, registry);
  const addresses = new Addresses(config, (command) => command(redis));
  const parts: AttemptParts = { addresses, redis, outbound, log };
  const lanes = new Lanes();
  const underWay = new Set<Promise<void>>();
  const closing = new AbortController();

  async function run(): Promise<void> {
    while (!closing.signal.aborted) {
      const taken = await takeDue(redis, PLACES - underWay.size, policy.lease).catch((error) => {
        if (!closing.signal.aborted) log.warn({ err: error }, "looking for what is due");
        return [];
      });
      for (const one of taken) {
        const place = lanes.enter(one);
        const work =
          typeof place === "number" ? postpone(redis, one, place) : deliver(parts, one, policy, measure).finally(place);
        const done = work
          .catch((error) => log.error({ err: error, delivery: one.id }, "left until its lease runs out"))
          .finally(() => underWay.delete(done));
        underWay.add(done);
      }
      if (underWay.size === PLACES) await Promise.race(underWay);
      else if (taken.length === 0) await sleep(IDLE_MS, undefined, { signal: closing.signal }).catch(() => {});
    }
  }

  const running = run();
  return {
    async close(): Promise<void> {
      closing.abort();
      publishing.stop();
      await Promise.race([running.then(() => Promise.all(underWay)), sleep(GRACE_MS, undefined, { ref: false })]);
      await outbound.close();
      redis.disconnect();
    },
  };
}

/** Makes one attempt and writes down what has become of it. */
async function deliver(parts: AttemptParts, taken: Taken, policy: Policy, measure: Measure): Promise<void> {
  const { redis, log } = parts;
  const at = new Date();
  const started = performance.now(); // the clock may be set meanwhile
  const answer = await span("deliver", { id: taken.id }, () => tryOnce(parts, taken, at, policy.timeLimit));
  const attempt = {
    at: at.toISOString(),
    status: answer.status,
    error: answer.error,
    duration_ms: Math.round(performance.now() - started),
  };
  const outcome = outcomeOf(answer, taken.tries + 1, policy);
  if (answer.status === 410) await markGone(redis, taken);
  await settle(redis, taken, attempt, outcome);
  measure(outcome.status, attempt.duration_ms / 1000);
  log.info({ delivery: taken.id, job: taken.job, ...attempt, outcome }, "attempt");
}
