/** A long generation gives way to a short one: the order of things, their bytes and events, and what stops either. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { Generation } from "../../../src/schema/generation.ts";
import { runInTime } from "../../../workers/generate/perform.ts";
import { startNode, until } from "../../support/processes.ts";
import { startService } from "../../support/service.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const service = await startService(stack, { work: true });
const LONG = { prompt: "a town", seed: 3, num_images: 2, num_inference_steps: 150, priority: 5 };
/** Stopped before its end. */
const ENDLESS = { ...LONG, num_images: 8 };
const SHORT = { prompt: "a house", seed: 5, num_inference_steps: 1, priority: 5 };
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

const shas = ({ images }: Generation) => images.map(({ sha256 }) => sha256);

test("a picture of one step does not wait for many of 150; what is not half as long, or less urgent, does; bytes as alone", async (t) => {
  const [alone, undisturbed] = await Promise.all([SHORT, LONG].map(async (body) => ended((await make(body)).id)));
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
  assert.deepEqual([shas(short), shas(last)], [shas(alone!), shas(undisturbed!)]);
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

test("a worker that is stopped meanwhile gives both to the next", async () => {
  const long = await make(ENDLESS);
  await worked(long.id);
  const short = await make(MEDIUM);
  await worked(short.id);
  const { step } = (await ask(`/${long.id}`)).progress;
  service.worker!.child.kill("SIGTERM");
  startNode(stack, "workers/generate/main.ts", service.env);
  const { status, progress } = await ended(short.id);
  assert.equal(status, "succeeded");
  assert.deepEqual(await eventsOf(short.id), whole(progress.total));
  await at(long.id, "to go on", (one) => one.progress.step > step);
  await stop(long.id);
  assert.equal((await ended(long.id)).status, "canceled");
  for (const { id } of [short, long]) {
    const [taken, givenBack] = await turns(id);
    assert.equal(givenBack, taken! - 1, "no death over it");
  }
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
