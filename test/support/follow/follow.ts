/**
 * What those who follow events see, and when: a client for each generation, while this process does what workers do,
 * one step of each generation a second. A fifth of the clients hang up after every fourth event and come back.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { type Claim, claimJob, finish, reportProgress } from "../../../src/jobs/attempt.ts";
import type { Generation } from "../../../src/schema/generation.ts";
import { elsewhere } from "../elsewhere.ts";
import { pace } from "../pace.ts";
import { residentMegabytes, startService } from "../service.ts";
import type { Job, Seen } from "./client.ts";

const SAMPLE_MS = 200;

const now = () => Number(process.hrtime.bigint()) / 1e6;

export interface Report {
  clients: number;
  events: number;
  /** Clients that missed an event, or saw one twice or out of order. */
  wrong: number;
  /** From a worker's sending it to Redis to a client's having it; of those that did not come in one go with others. */
  milliseconds: number[];
  /** The gateway's, in MB: before the clients came, with all of them, and at most. */
  memory: { before: number; connected: number; most: number };
}

export async function follow(clients: number, steps: number): Promise<Report> {
  await using stack = new AsyncDisposableStack();
  const { url, connection, gateway } = await startService(stack, {}, { MAX_QUEUE: String(clients) });
  const ids: string[] = [];
  while (ids.length < clients) ids.push(await submit(url, steps));
  const memory = { before: residentMegabytes(gateway.child), connected: 0, most: 0 };

  const listeners = elsewhere(stack, new URL("client.ts", import.meta.url), {
    url,
    ids,
    hangsUp: 5,
    after: 4,
  } satisfies Job);
  await listeners.next<"connected">();
  await sleep(SAMPLE_MS);
  memory.connected = residentMegabytes(gateway.child);
  const sample = () => (memory.most = Math.max(memory.most, residentMegabytes(gateway.child)));
  const sampling = setInterval(sample, SAMPLE_MS);
  stack.defer(() => clearInterval(sampling));
  const seen = listeners.next<Seen[]>();

  const sent = new Map<string, number>();
  const claims: Claim[] = [];
  const send = async (n: number, event: string, command: () => Promise<unknown>) => {
    sent.set(`${ids[n]} ${event}`, now());
    await command();
  };
  const round = async (event: string, command: (n: number) => Promise<unknown>) => {
    const sends: Promise<void>[] = [];
    await pace(clients, clients, (n) => sends.push(send(n, event, () => command(n))));
    await Promise.all(sends);
  };
  await round("2-0", async (n) => (claims[n] = (await claimJob(connection, ids[n]!))!));
  for (let step = 1; step <= steps; step++) {
    await round(`3-${step}`, (n) => reportProgress(connection, claims[n]!, { step, total: steps, preview: null }));
  }
  await round("4-0", (n) =>
    finish(connection, claims[n]!, { status: "failed", error: { code: "bench", message: "" } }),
  );

  const expected = ["1-0", "2-0", ...Array.from({ length: steps }, (_, i) => `3-${i + 1}`), "4-0"].join();
  const all = await seen;
  const milliseconds = all.flatMap((events, n) =>
    events.flatMap(([event, at]) => {
      const since = sent.get(`${ids[n]} ${event}`);
      return since === undefined ? [] : [at - since];
    }),
  );
  return {
    clients,
    events: all.reduce((sum, events) => sum + events.length, 0),
    wrong: all.filter((events) => events.map(([event]) => event).join() !== expected).length,
    milliseconds,
    memory,
  };
}

async function submit(url: string, steps: number): Promise<string> {
  const body = JSON.stringify({ prompt: "", num_inference_steps: steps, scheduler: "ddim" });
  const headers = { "content-type": "application/json" };
  const answer = await fetch(`${url}/v1/generations`, { method: "POST", headers, body });
  return ((await answer.json()) as Generation).id;
}
