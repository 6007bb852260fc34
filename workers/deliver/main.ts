/**
 * A webhook worker: takes the deliveries that are due, signs them and POSTs them until the endpoint has answered 2xx or
 * the schedule is used up. Any number of them may run; what one dies over is due again when its lease runs out.
 */
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import { Histogram } from "prom-client";
import { type Config, readConfigWithRedis } from "../../src/config/config.ts";
import { ConfigError } from "../../src/errors.ts";
import { kindOf } from "../../src/jobs/kinds.ts";
import { parseRecord } from "../../src/jobs/record.ts";
import { openLog } from "../../src/observe/log.ts";
import { openRegistry, publishMetrics } from "../../src/observe/metrics.ts";
import { Outbound } from "../../src/outbound/client.ts";
import { OutboundError } from "../../src/outbound/errors.ts";
import { connectPatiently } from "../../src/redis/connection.ts";
import type { WebhookAttempt } from "../../src/schema/webhook.ts";
import { markGone, postpone, settle, type Taken, takeDue } from "../../src/webhooks/outbox.ts";
import { signedHeaders, signingSecrets } from "../../src/webhooks/signing.ts";
import { Lanes, PLACES } from "./lanes.ts";

/** When an event is tried, and for how long. */
export interface Policy {
  /** Before each attempt, in ms after the one before; the first is made at once. */
  readonly waits: readonly number[];
  /** The share by which a wait may be longer, at random, so that what failed together does not come back together. */
  readonly jitter: number;
  /** The longest `Retry-After` that is honoured, in ms. */
  readonly longestWait: number;
  /** From the look-up of the address to the end of the answer, in ms. */
  readonly timeLimit: number;
  /** How long after an attempt's begin it is thought dead, in ms: more than the time limit. */
  readonly lease: number;
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** Svix's schedule (https://docs.svix.com/retries): 27 h 35 min in all. */
export const POLICY: Policy = {
  waits: [0, 5 * SECOND, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 10 * HOUR],
  jitter: 0.1,
  longestWait: 12 * HOUR,
  timeLimit: 15 * SECOND,
  lease: 20 * SECOND,
};

/** How often it looks when nothing is due. */
const IDLE_MS = 25;
/** How long `close` waits for the attempts under way; `npm start` kills after 8 s. */
const GRACE_MS = 5000;

/** Delivers until `close`, which lets the attempts under way end; what takes too long is left to the next process. */
export function startDeliverer(config: Config & { REDIS_URL: string }, log: Logger, policy = POLICY) {
  const redis = connectPatiently(config.REDIS_URL);
  redis.on("error", (error) => log.debug({ err: error }, "Redis connection"));
  const outbound = new Outbound(config);
  const name = `deliver-${hostname()}-${process.pid}`;
  const registry = openRegistry(name);
  const attempts = new Histogram({
    name: "controlnet_webhook_attempt_seconds",
    help: "Attempts to deliver a webhook, by what became of the delivery.",
    labelNames: ["outcome"],
    buckets: [0.01, 0.05, 0.2, 1, 5, 15],
    registers: [registry],
  });
  const publishing = publishMetrics(redis, "deliver", name, registry);
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
        const work = typeof place === "number" ? postpone(redis, one, place) : deliver(one).finally(place);
        const done = work
          .catch((error) => log.error({ err: error, delivery: one.id }, "left until its lease runs out"))
          .finally(() => underWay.delete(done));
        underWay.add(done);
      }
      if (underWay.size === PLACES) await Promise.race(underWay);
      else if (taken.length === 0) await sleep(IDLE_MS, undefined, { signal: closing.signal }).catch(() => {});
    }
  }

  async function deliver(taken: Taken): Promise<void> {
    const at = new Date();
    const started = performance.now(); // the clock may be set meanwhile
    const answer = await tryOnce(taken, at);
    const attempt = {
      at: at.toISOString(),
      status: answer.status,
      error: answer.error,
      duration_ms: Math.round(performance.now() - started),
    };
    const outcome = outcomeOf(answer, taken.tries + 1, policy);
    if (answer.status === 410) await markGone(redis, taken);
    await settle(redis, taken, attempt, outcome);
    attempts.observe({ outcome: outcome.status }, attempt.duration_ms / 1000);
    log.info({ delivery: taken.id, job: taken.job, ...attempt, outcome }, "attempt");
  }

  async function tryOnce(taken: Taken, at: Date): Promise<Answer> {
    if (taken.gone_at !== null && taken.gone_at > taken.created_at) {
      return { status: null, error: `not tried: the endpoint was gone (410) at ${taken.gone_at}`, final: true };
    }
    try {
      const record = parseRecord(taken.job, taken.record);
      if (record === undefined) return { status: null, error: "an error of the service", final: true };
      const body = JSON.stringify({
        type: `${record.object}.${taken.event}`,
        timestamp: taken.created_at,
        data: kindOf(taken.job).show(record, config.PUBLIC_URL),
      });
      const secrets = await signingSecrets(redis, taken.owner);
      const headers = { "content-type": "application/json", ...signedHeaders(secrets, taken.id, at, body) };
      return await post(outbound, taken.url, { headers, body, timeoutMs: policy.timeLimit });
    } catch (error) {
      log.error({ err: error, delivery: taken.id }, "internal error");
      return { status: null, error: "an error of the service", final: false };
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

/** What became of one attempt. */
interface Answer extends Pick<WebhookAttempt, "status" | "error"> {
  /** It is not to be tried again. */
  final: boolean;
  /** Of `Retry-After`. */
  retryAfterMs?: number;
}

function outcomeOf({ error, final, retryAfterMs = 0 }: Answer, tries: number, policy: Policy) {
  if (error === null) return { status: "delivered" } as const;
  const wait = policy.waits[tries];
  if (final || wait === undefined) return { status: "failed" } as const;
  const waitMs = Math.max(wait * (1 + policy.jitter * Math.random()), Math.min(retryAfterMs, policy.longestWait));
  return { status: "pending", waitMs } as const;
}

/** Sends it once. @throws nothing: what goes wrong on the way is an answer too. */
async function post(outbound: Outbound, url: string, request: Parameters<Outbound["post"]>[1]): Promise<Answer> {
  try {
    const { status, headers } = await outbound.post(url, request);
    if (status >= 200 && status < 300) return { status, error: null, final: false };
    if (status === 410) return { status, error: "the endpoint is gone", final: true };
    const error = status >= 300 && status < 400 ? "redirects are not followed" : "the answer is not 2xx";
    return { status, error, final: false, retryAfterMs: millisecondsOf(headers["retry-after"]) };
  } catch (error) {
    if (!(error instanceof OutboundError)) throw error;
    return { status: null, error: error.message, final: false };
  }
}

/** `Retry-After`: seconds, or a date (RFC 9110, 10.2.3). */
function millisecondsOf(retryAfter: string | string[] | undefined): number {
  if (typeof retryAfter !== "string") return 0;
  const milliseconds = /^\s*\d+\s*$/.test(retryAfter) ? Number(retryAfter) * 1000 : Date.parse(retryAfter) - Date.now();
  return Number.isNaN(milliseconds) ? 0 : milliseconds;
}

if (import.meta.main) {
  try {
    const config = readConfigWithRedis(process.env);
    const log = openLog("deliver", config);
    const deliverer = startDeliverer(config, log);
    let stopping: Promise<void> | undefined;
    const stop = async () => {
      stopping ??= deliverer.close();
      await stopping;
      process.exit(0);
    };
    for (const signal of ["SIGTERM", "SIGINT", "disconnect"] as const) process.on(signal, stop);
    log.info("delivers webhooks");
  } catch (error) {
    console.error(error instanceof ConfigError ? error.message : error);
    process.exit(1);
  }
}
