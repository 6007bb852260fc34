/**
 * What the service keeps of its promises while its processes are killed or stand still, its Redis' file is torn and its disk is
 * full. Gateways, workers, webhook workers and Redis run as processes of their own; clients send generations while one process after
 * another, drawn by chance, gets SIGKILL and is started again, or SIGSTOP and SIGCONT; a Redis that was killed finds the end of its
 * file torn.
 */
import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { createParser, type EventSourceMessage } from "eventsource-parser";
import { Webhook } from "standardwebhooks";
import type { Generation } from "../../src/schema/generation.ts";
import { boundMemory, freeze, smallDisk, tearTail } from "./harm.ts";
import { dataFolder, freePort, kill, startNode, startRedis, until } from "./processes.ts";
import { TINY_MODELS } from "./service.ts";

/** What happens, one after the other: to whom is drawn by chance. Where no disk can be filled, another is killed. */
const HARMS = ["kill", "freeze", "kill", "disk"] as const;

export interface Settings {
  generations: number;
  /** How many clients send at once; each waits for the end of its generation before it sends the next. */
  clients: number;
  killEveryMs: number;
  /** Processes are killed for this long at most, and as long as generations are under way. */
  killForMs: number;
  /** A process stands still for so long at most. */
  freezeMs: number;
  /** Whether the disk is full now and then, where a small one may be mounted. */
  fillDisk?: boolean;
  /** Bytes of memory of the gateways together, and of the workers, where cgroups can be made. */
  memory?: { gateway: number; worker: number };
  /** What runs as a webhook worker. */
  deliver?: string;
}

export interface Report {
  generations: number;
  seconds: number;
  /** How often each kind of process was killed. */
  kills: Record<string, number>;
  /** How often each kind of process has stood still, and the disk was full. */
  froze: Record<string, number>;
  /** What could not be tried on this machine. */
  untried: string[];
  /** Generations that were accepted and are not there, or have not succeeded. */
  lost: string[];
  /** Generations that there are beside those that clients know of. */
  duplicates: number;
  /** Generations whose pictures are not those made without chaos. */
  otherPictures: string[];
  /** Generations that no webhook has told of. */
  untold: string[];
  /** Generations that were told of by more than one id, or not the same each time. */
  toldTwice: string[];
  badSignatures: number;
  /** Generations whose events are not each there once and in order. */
  otherEvents: string[];
  /** Processes that ended without being killed, by kind, with the last that they said. */
  died: string[];
  webhooks: number;
  takeovers: number;
  /** The longest time from a client's sending to the end of a generation that it saw. */
  slowestMs: number;
}

const SEEDS = 8;
const STEPS = 4;
const EVENTS = ["queued", "started", ...Array<string>(STEPS).fill("progress"), "succeeded"].join();
const request = (seed: number) => ({
  prompt: "a red house by the sea",
  num_inference_steps: STEPS,
  scheduler: "euler_ancestral",
  width: 64,
  height: 64,
  seed,
});

export async function chaos(settings: Settings): Promise<Report> {
  await using stack = new AsyncDisposableStack();
  const redis = await startRedis(stack);
  const ports = [await freePort(), await freePort()];
  const disk = settings.fillDisk ? await smallDisk(stack) : null;
  const bounded = Object.entries(settings.memory ?? {}).map(
    ([kind, bytes]) => [kind, boundMemory(stack, bytes)] as const,
  );
  const untried = [
    ...(settings.fillDisk && disk === null ? ["a disk that is full: nothing may be mounted"] : []),
    ...bounded.flatMap(([kind, add]) =>
      add === null ? [`a bound on the ${kind}'s memory: no cgroup may be made`] : [],
    ),
  ];
  const bound = new Map(bounded);
  const env = {
    REDIS_URL: redis.url,
    DATA_DIR: disk?.folder ?? (await dataFolder(stack)),
    MODELS_DIR: TINY_MODELS,
    EXECUTION_PROVIDER: "cpu",
    ALLOW_HOSTS: "127.0.0.1",
    LOG_LEVEL: "info",
  };
  const { deliver = "workers/deliver/main.ts" } = settings;
  const killed: Record<string, number> = {};
  const froze: Record<string, number> = {};
  const count = (of: Record<string, number>, kind: string) => {
    of[kind] = (of[kind] ?? 0) + 1;
  };
  const outputs: { output: string }[] = [];
  const died: string[] = [];
  const doomed = new Set<ChildProcess>();

  /** A process, and how to kill it and start it again. */
  const kept = (kind: string, file: string, more: Record<string, string> = {}) => {
    const launch = () => {
      const started = startNode(stack, file, { ...env, ...more });
      outputs.push(started);
      bound.get(kind)?.(started.child);
      started.child.once("exit", (status) => {
        if (!doomed.has(started.child)) died.push(`${kind}, status ${status}: ${started.output.slice(-1000)}`);
      });
      return started;
    };
    let running = launch();
    return {
      kind,
      child: () => running.child,
      async crash() {
        doomed.add(running.child);
        await kill(running.child, "SIGKILL");
        running = launch();
      },
    };
  };
  const urls = ports.map((port) => `http://127.0.0.1:${port}`);
  const processes = [
    ...ports.map((port) => kept("gateway", "src/gateway/server.ts", { PORT: String(port), PUBLIC_URL: urls[0]! })),
    ...["worker", "worker"].map((kind) => kept(kind, "workers/generate/main.ts")),
    ...["deliver", "deliver"].map((kind) => kept(kind, deliver)),
    {
      kind: "redis",
      child: redis.child,
      async crash() {
        await redis.crash();
        tearTail(redis.folder);
        await redis.start();
      },
    },
  ];

  let turn = 0;
  /** Asks one gateway after the other until one answers with less than 500. */
  async function ask(path: string, init: RequestInit = {}): Promise<Response> {
    for (;;) {
      const url = `${urls[turn++ % urls.length]}${path}`;
      try {
        const response = await fetch(url, { ...init, signal: AbortSignal.timeout(10_000) });
        const body = await response.bytes(); // an answer may break off
        if (response.status < 500) return new Response(response.status === 204 ? null : body, response);
      } catch {
        // the gateway is gone: the next one
      }
      await sleep(100);
    }
  }
  const json = async <T>(path: string, init?: RequestInit) => (await (await ask(path, init)).json()) as T;
  await until("ready", async () => (await fetch(`${urls[0]}/ready`).catch(() => undefined))?.ok, 60_000);

  const { key } = await json<{ key: string }>("/v1/webhooks/secret");
  const received: { id: string; generation: Generation }[] = [];
  let badSignatures = 0;
  const endpoint = createServer(async (incoming, answer) => {
    try {
      const body = await text(incoming);
      const headers = incoming.headers as Record<string, string>;
      const { data } = new Webhook(key).verify(body, headers) as { data: Generation };
      received.push({ id: headers["webhook-id"]!, generation: data });
    } catch (error) {
      if (!incoming.aborted) badSignatures++;
      if (!incoming.aborted) console.error(error);
    }
    answer.writeHead(204).end();
  });
  endpoint.listen(0, "127.0.0.1");
  await once(endpoint, "listening");
  stack.defer(() => {
    endpoint.closeAllConnections();
    endpoint.close();
  });
  const webhook = {
    url: `http://127.0.0.1:${(endpoint.address() as AddressInfo).port}/`,
    events: ["succeeded", "failed"],
  };

  const make = (idempotency: string, seed: number) =>
    json<Generation>("/v1/generations", {
      method: "POST",
      headers: { "content-type": "application/json", "idempotency-key": idempotency },
      body: JSON.stringify({ ...request(seed), webhook }),
    });
  const ended = async ({ id }: Generation): Promise<Generation> => {
    for (;;) {
      const generation = await json<Generation>(`/v1/generations/${id}`);
      if (generation.ended_at || generation.id === undefined) return generation;
      await sleep(100);
    }
  };
  const hashOf = async (generation: Generation) => {
    const image = await ask(`/v1/generations/${generation.id}/images/0`);
    return createHash("sha256")
      .update(await image.bytes())
      .digest("hex");
  };

  /** What a stream that is read from the first event says, progress by its steps. */
  const eventsOf = async (id: string) => {
    const names: string[] = [];
    let step = 0;
    const onEvent = ({ event, data }: EventSourceMessage) =>
      names.push(event === "progress" && JSON.parse(data).step !== ++step ? `step ${step}` : event!);
    createParser({ onEvent }).feed(await (await ask(`/v1/generations/${id}/events`)).text());
    return names.join();
  };

  const expected: string[] = [];
  for (let seed = 0; seed < SEEDS; seed++) expected.push(await hashOf(await ended(await make(`calm ${seed}`, seed))));
  assert.equal(new Set(expected).size, SEEDS);

  const began = performance.now();
  const made = new Map<string, number>(); // generation → seed
  let slowestMs = 0;
  let next = 0;
  async function client(): Promise<void> {
    for (let n = next++; n < settings.generations; n = next++) {
      const sent = performance.now();
      const generation = await make(`chaos ${n}`, n % SEEDS);
      assert.ok(generation.id, JSON.stringify(generation));
      made.set(generation.id, n % SEEDS);
      await ended(generation);
      slowestMs = Math.max(slowestMs, performance.now() - sent);
    }
  }
  const over = new AbortController();
  async function crashes(): Promise<void> {
    for (let turn = 0; !over.signal.aborted && performance.now() - began < settings.killForMs; turn++) {
      const wait = turn === 0 ? 0.25 : 0.5 + Math.random(); // the first before a quick machine is done
      await sleep(settings.killEveryMs * wait, undefined, { signal: over.signal }).catch(() => {});
      if (over.signal.aborted) return;
      const victim = processes[Math.floor(Math.random() * processes.length)]!;
      const how = HARMS[turn % HARMS.length];
      if (how === "disk" && disk !== null) {
        count(froze, "disk");
        await disk.fill();
        await sleep(settings.freezeMs);
        disk.free();
      } else if (how === "freeze") {
        count(froze, victim.kind);
        await freeze(victim.child(), settings.freezeMs * Math.random());
      } else {
        count(killed, victim.kind);
        await victim.crash();
      }
    }
  }
  const crashing = crashes();
  await Promise.all(Array.from({ length: settings.clients }, client));
  over.abort();
  await crashing;
  const seconds = (performance.now() - began) / 1000;

  const told = async () => new Set(made.keys()).isSubsetOf(new Set(received.map(({ generation }) => generation.id)));
  await until("every webhook", told, 90_000).catch(() => {});

  const listed: Generation[] = [];
  for (let cursor: string | null = ""; cursor !== null; ) {
    const page: { data: Generation[]; next_cursor: string | null } = await json(
      `/v1/generations?limit=100${cursor && `&cursor=${cursor}`}`,
    );
    listed.push(...page.data);
    cursor = page.next_cursor;
  }
  const there = new Map(listed.map((generation) => [generation.id, generation]));
  const otherPictures: string[] = [];
  const otherEvents: string[] = [];
  for (const [id, seed] of made) {
    const generation = there.get(id);
    if (generation?.status !== "succeeded") continue;
    const hash = await hashOf(generation);
    const [image, ...more] = generation.images;
    if (hash !== expected[seed] || image?.sha256 !== hash || more.length > 0) otherPictures.push(id);
    if ((await eventsOf(id)) !== EVENTS) otherEvents.push(id);
  }
  const bodies = Map.groupBy(received, ({ generation }) => generation.id);
  return {
    generations: made.size,
    seconds,
    kills: killed,
    froze,
    untried,
    lost: [...made.keys()].filter((id) => there.get(id)?.status !== "succeeded"),
    duplicates: listed.length - made.size - SEEDS,
    otherPictures,
    untold: [...made.keys()].filter((id) => !bodies.has(id)),
    toldTwice: [...bodies].flatMap(([id, all]) =>
      new Set(all.map((one) => JSON.stringify(one))).size > 1 ? [id] : [],
    ),
    badSignatures,
    otherEvents,
    died: [...died],
    webhooks: received.length,
    takeovers: outputs.reduce(
      (sum, { output }) => sum + [...output.matchAll(/"attempt":([2-9])\S*"started"/g)].length,
      0,
    ),
    slowestMs,
  };
}
