/** A long generation gives way to a short one: the order of things, their bytes and events, and what stops either. */
import assert from "node:assert/strict";
import { tmpdir } from "node:os";
import { after, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import type { Redis } from "ioredis";
import type { Logger } from "pino";
import type { Claim } from "../../../src/jobs/attempt.ts";
import type { GenerationRecord } from "../../../src/jobs/generation.ts";
import type { Generation } from "../../../src/schema/generation.ts";
import { GenerationRequest } from "../../../src/schema/generation-request.ts";
import { performGeneration, runInTime } from "../../../workers/generate/perform.ts";
import { watchGeneration } from "../../../workers/generate/turn.ts";
import { TurnOver } from "../../../workers/take-jobs.ts";
import { picturesFor } from "../../support/pace.ts";
import { kill, startNode, until } from "../../support/processes.ts";
import { startService } from "../../support/service.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const service = await startService(stack, { work: true });
const SHORT = { prompt: "a house", seed: 5, num_inference_steps: 1, priority: 5 };
/** What of a request that is carried out is not there. */
const UNUSED = { scheduler: "ddim", controls: [], image: null, mask_image: null, strength: null };
/** Short beside LONG, long enough to be stopped. */
const MEDIUM = { prompt: "a tree", seed: 7, num_inference_steps: 50, priority: 5 };

async function ask(path: string, method = "GET", body?: object): Promise<Generation> {
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch(`${service.url}/v1/generations${path}`, {
    method,
    headers,
    body: body === undefined ? null : JSON.stringify(body),
  });
  assert.ok(answer.ok, `${path}: ${answer.status}`);
  return (await answer.json()) as Generation;
}
const make = (body: object) => ask("", "POST", body);
const at = (id: string, what: string, holds: (one: Generation) => boolean) =>
  until(`${id} ${what}`, async () => [await ask(`/${id}`)].find(holds), 60_000);
const ended = (id: string) => at(id, "to end", ({ ended_at }) => ended_at !== null);
const worked = (id: string) => at(id, "to be at work", ({ progress }) => progress.step > 3);
const stop = (id: string) => ask(`/${id}/cancel`, "POST");
/** How often workers have taken it, and how often they have given it back. */
const turns = async (id: string) =>
  (await service.connection.hmget(`generation:${id}`, "attempt", "handed_back")).map(Number);

/** The ids of a job's events, and what they are. */
async function eventsOf(id: string): Promise<string[]> {
  const text = await (await fetch(`${service.url}/v1/generations/${id}/events`)).text();
  return [...text.matchAll(/^id: (.*)\nevent: (.*)$/gm)].map(([, event, name]) => `${event} ${name}`);
}
const whole = (evaluations: number) => [
  "1-0 queued",
  "2-0 started",
  ...Array.from({ length: evaluations }, (_, i) => `3-${i + 1} progress`),
  "4-0 succeeded",
];

/** A second or more of work, also on a quick machine: a shorter one would end before it gives way. */
const { metrics } = await ended((await make({ ...SHORT, num_inference_steps: 20 })).id);
const num_images = picturesFor(1.2, metrics.steps_per_second);
const LONG = { prompt: "a town", seed: 3, num_images: Math.max(2, num_images), num_inference_steps: 150, priority: 5 };
/** Stopped before its end. */
const ENDLESS = { ...LONG, num_images: 8 };

/** LONG, alone. */
let undisturbed: Generation;
const shas = ({ images }: Generation) => images.map(({ sha256 }) => sha256);

test("a picture of one step does not wait for many of 150; what is not half as long, or less urgent, does; bytes as alone", async (t) => {
  const [alone, long1] = await Promise.all([SHORT, LONG].map(async (body) => ended((await make(body)).id)));
  undisturbed = long1!;
  const long = await make(LONG);
  await worked(long.id);
  const rest = [await make({ ...LONG, seed: 4 }), await make({ ...SHORT, priority: 6 })];
  const sent = performance.now();
  const short = await ended((await make(SHORT)).id);
  const waited = performance.now() - sent;
  const last = await ended(long.id);
  await Promise.all(rest.map(({ id }) => stop(id)));
  assert.ok(short.ended_at! < last.ended_at!);
  for (const { id } of rest) assert.ok(Date.parse((await ended(id)).ended_at!) >= Date.parse(last.ended_at!));
  const tookMs = Date.parse(last.ended_at!) - Date.parse(last.started_at!);
  t.diagnostic(`the short one took ${waited.toFixed(0)} ms, the long one ${tookMs} ms`);
  assert.deepEqual(await turns(long.id), [2, 1], "no death over it");
  assert.deepEqual(await eventsOf(long.id), whole(last.progress.total));
  assert.deepEqual(await eventsOf(short.id), whole(short.progress.total));
  assert.deepEqual([shas(short), shas(last)], [shas(alone!), shas(undisturbed)]);
});

test("either is canceled while the other is there: the one that gave way at once, and the other goes on", async () => {
  const long = await make(ENDLESS);
  await worked(long.id);
  const first = await make({ ...MEDIUM, num_inference_steps: 150 });
  await worked(first.id);
  await stop(first.id);
  assert.equal((await ended(first.id)).status, "canceled");
  await until("the long one to go on", async () => (await turns(long.id))[0] === 2);
  const urgent = await make({ ...ENDLESS, priority: 0 });
  await worked(urgent.id);
  assert.deepEqual([(await stop(long.id)).status, (await ask(`/${urgent.id}`)).status], ["canceled", "processing"]);
  await stop(urgent.id);
  assert.equal((await ended(urgent.id)).status, "canceled");
});

test("workers that are stopped or killed meanwhile give both to the next, which makes the same bytes", async () => {
  const long = await make(LONG);
  await worked(long.id);
  const short = await make(MEDIUM);
  await worked(short.id);
  const taken = (times: number) => until("the next worker", async () => (await turns(short.id))[0] === times, 30_000);
  service.worker!.child.kill("SIGTERM");
  const next = startNode(stack, "workers/generate/main.ts", service.env);
  await taken(2);
  await worked(short.id);
  await kill(next.child, "SIGKILL"); // with the long one saved and nobody at work on it
  startNode(stack, "workers/generate/main.ts", service.env);
  await taken(3);
  const [first, last] = [await ended(short.id), await ended(long.id)];
  for (const one of [first, last]) assert.deepEqual(await eventsOf(one.id), whole(one.progress.total));
  assert.deepEqual(shas(last), shas(undisturbed), "the bytes of one that was alone");
  assert.deepEqual(await turns(short.id), [3, 1], "one worker has died over it");
  const [times, givenBack] = await turns(long.id); // it may go on until the other is missed
  assert.equal(givenBack, times! - 1, "none has");
});

test("its time is that of all its turns", async () => {
  const asked: string[] = [];
  const { promise: stopped, resolve: stop } = Promise.withResolvers<{ type: "canceled"; id: string }>();
  const engine = {
    carryOut: () => stopped,
    ask(what: string, id: string) {
      asked.push(what);
      stop({ type: "canceled", id });
    },
  };
  const parts = { config: { RUN_TIMEOUT: 3600 }, engine } as unknown as Parameters<typeof runInTime>[0];
  const task = { id: "gen_1" } as Parameters<typeof runInTime>[1];
  const { timedOut } = await runInTime(parts, task, undefined, 3_599_990);
  assert.deepEqual([timedOut, asked], [true, ["cancel"]]);
});

/** A Redis whose scripts all answer the same. */
function answering(answer: unknown): Redis {
  const redis = { defineCommand: (name: string) => Object.assign(redis, { [name]: async () => answer }) };
  return redis as unknown as Redis;
}
const log = { info() {}, debug: assert.fail } as unknown as Logger;
const request = GenerationRequest.parse({ ...SHORT, ...UNUSED, model: "base", width: 64, height: 64 });

test("one that gets ready for long gives way as well; when it goes on, after as long as all turns before", async (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] });
  let now = 0;
  t.mock.method(performance, "now", () => now);
  const redis = answering(["gen_2", 100, 0]);
  const record = { id: "gen_1", request, metrics: {}, progress: { step: 0, total: 20 } };
  for (const [workedMs, turnMs] of [
    [0, 2000],
    [1000, 2000],
    [8000, 8000],
  ] as const) {
    const { promise: yielded, resolve } = Promise.withResolvers<{ type: "yielded"; id: string }>();
    const asked: string[] = [];
    const engine = {
      carryOut: () => yielded,
      ask(what: string, id: string) {
        asked.push(what);
        resolve({ type: "yielded", id });
      },
    };
    const parts = { config: { RUN_TIMEOUT: 3600, DATA_DIR: tmpdir() }, redis, storage: {}, engine };
    const claimed = { record, attempt: 2, workedMs, owed: 1e6, state: null } as unknown as Claim<GenerationRecord>;
    const begun = now;
    const ending = performGeneration(parts as never, claimed, log, new AbortController().signal).catch(
      (error) => error,
    );
    await setImmediate(); // it has been begun
    now = begun + turnMs - 1;
    t.mock.timers.tick(200);
    assert.deepEqual(asked, []);
    now = begun + turnMs;
    t.mock.timers.tick(200);
    const error = await ending;
    assert.ok(error instanceof TurnOver, String(error));
    assert.deepEqual([asked, error.givesWay?.first], [["yield"], "gen_2"]);
  }
});

test("one that is nearly done goes on, also when an urgent one waits; one that is not gives way", async (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] });
  let now = 0;
  t.mock.method(performance, "now", () => now);
  const urgent = answering(["gen_2", 1e6, 1]);
  /** One that has done seven evaluations of so many, of 100 ms each. */
  const watch = (total: number, stop: () => void) => {
    const record = { id: "gen_1", request, progress: { step: 0, total } };
    const claimed = { record, attempt: 1, owed: 0 } as unknown as Claim<GenerationRecord>;
    now = 0;
    const turn = watchGeneration(urgent, claimed, tmpdir(), stop, log);
    for (let step = 1; step <= 7; step++) {
      now = 100 * step;
      turn.hear(step);
    }
    t.mock.timers.tick(200);
    return turn;
  };
  const { promise: stopped, resolve: stop } = Promise.withResolvers<void>();
  using one = watch(8, assert.fail);
  using other = watch(20, stop);
  await stopped; // it has looked after the first one
  assert.deepEqual([one.givesWay, other.givesWay?.first], [null, "gen_2"]);
});
