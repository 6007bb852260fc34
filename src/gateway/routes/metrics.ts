/** `/metrics`, for Prometheus: the state of the service as Redis has it, and what each process measures of itself. */
import { hostname } from "node:os";
import type { FastifyInstance } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import type { Redis } from "ioredis";
import { AggregatorRegistry, Counter, Gauge, Histogram, Registry } from "prom-client";
import { z } from "zod";
import { NotReady } from "../../errors.ts";
import { WORKERS } from "../../jobs/fleet.ts";
import { outcomesKey, statusKey } from "../../jobs/keys.ts";
import type { JobKind } from "../../jobs/kind.ts";
import { ALL_KINDS, KINDS } from "../../jobs/kinds.ts";
import { openRegistry, publishedMetrics, STARTS } from "../../observe/metrics.ts";
import { DUE } from "../../webhooks/keys.ts";
import type { Service } from "../parts.ts";

const COUNT_AGAIN_MS = 1000;

/** Measures the requests of all routes that are made after it, and serves the numbers. */
export function metrics(app: FastifyInstance, { queue }: Service): void {
  const registry = openRegistry(`gateway-${hostname()}-${process.pid}`);
  const requests = new Histogram({
    name: "controlnet_http_request_seconds",
    help: "From a request's head to the end of its answer; what waits for a generation, or follows one, is in here.",
    labelNames: ["method", "route", "status"],
    buckets: [0.005, 0.02, 0.1, 0.5, 2, 10, 60],
    registers: [registry],
  });
  app.addHook("onResponse", async (request, reply) => {
    const { method, routeOptions } = request;
    requests.observe({ method, route: routeOptions.url ?? "none", status: reply.statusCode }, reply.elapsedTime / 1000);
  });

  let counting: NodeJS.Timeout | undefined;
  const countStart = () =>
    queue
      .ask((redis) => redis.hincrby(STARTS, "gateway", 1))
      .catch(() => {
        counting = setTimeout(countStart, COUNT_AGAIN_MS).unref(); // there is no Redis yet
      });
  app.addHook("onListen", async () => void countStart());
  app.addHook("onClose", async () => clearTimeout(counting));

  app.withTypeProvider<ZodTypeProvider>().get(
    "/metrics",
    {
      logLevel: "warn",
      config: { anyQuery: true },
      schema: {
        operationId: "getMetrics",
        summary: "Get metrics",
        description:
          "Of the whole service as Redis has it, of every worker, and of the gateway that answers. `controlnet_redis_up` is 0 when Redis is away: then there are this gateway's own alone.",
        tags: ["service"],
        response: {
          200: {
            description: "Prometheus' text format.",
            content: { "text/plain": { schema: z.string() } },
          },
        },
      },
    },
    async (_request, reply) => {
      const service = new Registry();
      let others: object[] = [];
      try {
        others = await queue.ask(async (redis) => {
          await readState(redis, service);
          return publishedMetrics(redis);
        });
        redisUp(service).set(1);
      } catch (error) {
        if (!(error instanceof NotReady)) throw error;
        service.clear();
        redisUp(service).set(0);
      }
      const processes = AggregatorRegistry.aggregate([await registry.getMetricsAsJSON(), ...others]);
      const text = `${await service.metrics()}\n${await processes.metrics()}`;
      return reply.type(registry.contentType).send(text);
    },
  );
}

const redisUp = (registry: Registry) =>
  new Gauge({ name: "controlnet_redis_up", help: "Whether Redis answers.", registers: [registry] });

/** The on-call's questions that Redis can answer. */
async function readState(redis: Redis, registry: Registry): Promise<void> {
  const gauge = (name: string, help: string, value: number) =>
    new Gauge({ name: `controlnet_${name}`, help, registers: [registry] }).set(value);
  const counter = (name: string, help: string, label: string, values: Record<string, string | number>) => {
    const one = new Counter({ name: `controlnet_${name}`, help, labelNames: [label], registers: [registry] });
    for (const [value, count] of Object.entries(values)) one.inc({ [label]: value }, Number(count));
  };
  const [[seconds, microseconds], oldest, due, earliest, starts, memory] = await Promise.all([
    redis.time(),
    redis.zrange(statusKey(KINDS.generation, "queued"), "0", "0", "WITHSCORES"),
    redis.zcard(DUE),
    redis.zrange(DUE, "0", "0", "WITHSCORES"),
    redis.hgetall(STARTS),
    redis.info("memory"),
  ]);
  const now = Number(seconds) * 1000 + Number(microseconds) / 1000;
  const age = ([, since]: string[]) => (since === undefined ? 0 : Math.max(0, (now - Number(since)) / 1000));
  const jobs = async (kind: JobKind) => {
    const none = { succeeded: 0, failed: 0, canceled: 0 };
    const { name, words } = kind;
    gauge(`${name}s_queued`, `${words.title}s that wait.`, await redis.zcard(statusKey(kind, "queued")));
    gauge(`${name}s_processing`, `${words.title}s that run.`, await redis.zcard(statusKey(kind, "processing")));
    const ended = { ...none, ...(await redis.hgetall(outcomesKey(kind))) };
    counter(`${name}s_ended_total`, `${words.title}s that have ended.`, "status", ended);
  };
  await Promise.all(ALL_KINDS.map(jobs));
  gauge("oldest_queued_seconds", "How long the one that waits longest has waited.", age(oldest));
  gauge("webhooks_pending", "Webhook deliveries to be tried, now or later.", due);
  gauge("webhooks_lag_seconds", "How long the delivery that is most overdue is overdue.", age(earliest));
  counter("process_starts_total", "Grows when a process dies and is started again.", "role", starts);
  gauge("workers_live", "Workers that have said lately that they live.", await redis.zcount(WORKERS, now, "+inf"));
  gauge("redis_memory_bytes", "What Redis holds.", Number(/^used_memory:(\d+)/m.exec(memory)?.[1]));
}
