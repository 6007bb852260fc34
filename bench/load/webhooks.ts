/**
 * How fast webhooks are delivered: one webhook worker as a process, and in this one an endpoint that verifies every
 * signature with the `standardwebhooks` package and answers 204.
 */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import type { Redis } from "ioredis";
import { Webhook } from "standardwebhooks";
import { OWNER_WITHOUT_KEYS } from "../../src/config/api-keys.ts";
import { claimJob, finish } from "../../src/jobs/attempt.ts";
import { submit } from "../../src/jobs/submit.ts";
import type { Generation } from "../../src/schema/generation.ts";
import { GenerationRequest } from "../../src/schema/generation-request.ts";
import { pace } from "../../test/support/pace.ts";
import { startNode, until } from "../../test/support/processes.ts";
import { REQUEST } from "../../test/support/queue.ts";
import { startService } from "../../test/support/service.ts";
import { printTable, spread } from "../table.ts";

const PER_SECOND = 100;
const GENEROUS_MS = 120_000;

export interface Report {
  /** Of a backlog, while it was worked off. */
  perSecond: number;
  /** From the end of a generation to the endpoint's having it, when so many end a second. */
  milliseconds: number[];
  /** Deliveries whose signature does not verify, or that came more than once. */
  wrong: number;
}

export async function deliver(backlog: number, paced: number): Promise<Report> {
  await using stack = new AsyncDisposableStack();
  const { url, connection, env } = await startService(stack, {});
  const secret = (await (await fetch(`${url}/v1/webhooks/secret`)).json()) as { key: string };
  const endpoint = await listen(stack, secret.key);
  const { received } = endpoint;

  const ends = Array.from({ length: backlog }, (_, n) => end(connection, `gen_backlog${n}`, endpoint.url));
  await Promise.all(ends);
  startNode(stack, "workers/deliver/main.ts", env);
  await until("the backlog", async () => received.size >= backlog, GENEROUS_MS);
  const times = [...received.values()].sort((a, b) => a - b);
  const perSecond = (1000 * (backlog - 1)) / (times.at(-1)! - times[0]!);

  const ended = new Map<string, number>();
  const ending: Promise<void>[] = [];
  await pace(paced, PER_SECOND, (n) => {
    const id = `gen_paced${n}`;
    ending.push(end(connection, id, endpoint.url, () => ended.set(id, performance.now())));
  });
  await Promise.all(ending);
  await until("the others", async () => received.size >= backlog + paced, GENEROUS_MS);
  const milliseconds = [...ended].map(([id, at]) => received.get(id)! - at);
  return { perSecond, milliseconds, wrong: endpoint.wrong() };
}

/** An endpoint, and when it was told of each generation. */
async function listen(stack: AsyncDisposableStack, key: string) {
  const received = new Map<string, number>();
  const webhook = new Webhook(key);
  let wrong = 0;
  const server = createServer(async (request, response) => {
    try {
      const { data } = webhook.verify(await text(request), request.headers as Record<string, string>) as {
        data: Generation;
      };
      if (received.has(data.id)) wrong++;
      else received.set(data.id, performance.now());
    } catch {
      wrong++;
    }
    response.writeHead(204).end();
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  stack.defer(() => {
    server.closeAllConnections();
    server.close();
  });
  return { received, wrong: () => wrong, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` };
}

/** A generation that goes through all its states, without a worker. */
async function end(redis: Redis, id: string, url: string, before = () => {}): Promise<void> {
  const request = GenerationRequest.parse({ ...REQUEST, prompt: "a red house by the sea", webhook: { url } });
  await submit(redis, id, request, OWNER_WITHOUT_KEYS, {});
  const claimed = (await claimJob(redis, id))!;
  before();
  await finish(redis, claimed, { status: "failed", error: { code: "bench", message: "" } });
}

export async function webhooks(backlog: number, paced: number): Promise<void> {
  const { perSecond, milliseconds, wrong } = await deliver(backlog, paced);
  printTable(
    ["webhooks, one worker", "figure"],
    [
      [`deliveries/s, of ${backlog} that wait`, perSecond.toFixed(0)],
      [`from the end to the endpoint at ${PER_SECOND}/s: p50, p99, max, ms`, spread(milliseconds).join(", ")],
      ["signatures that do not verify, or deliveries that came twice", wrong],
    ],
  );
  if (wrong > 0) throw new Error(`${wrong} deliveries were wrong`);
}
