/**
 * npm run bench latency: what the service adds to a picture, what saving its state costs, and how soon a canceled
 * generation's worker takes the next. A gateway and a worker as processes, the tiny networks of the tests. SHORT=1 is for
 * trying the bench itself.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { createParser } from "eventsource-parser";
import { EVENT_CHANNEL } from "../src/jobs/keys.ts";
import type { Generation } from "../src/schema/generation.ts";
import { until } from "../test/support/processes.ts";
import { startService } from "../test/support/service.ts";
import { printTable, quantile, spread } from "./table.ts";

type Service = Awaited<ReturnType<typeof startService>>;

const STEPS = 20;
const REQUEST = { prompt: "a red house by the sea", scheduler: "dpmpp_2m", seed: 7, num_inference_steps: STEPS };
const SMALL = { ...REQUEST, width: 256, height: 256 };
/** Its state has the size of a Stable Diffusion 1.5's at 512². */
const LARGE = { ...REQUEST, width: 512, height: 512 };
/** Lasts until it is canceled. */
const LONG = { ...SMALL, num_inference_steps: 150 };
const GENEROUS_MS = 120_000;

async function post(url: string, body?: object): Promise<Generation> {
  const headers = body === undefined ? {} : { "content-type": "application/json" };
  const answer = await fetch(url, { method: "POST", headers, body: body === undefined ? null : JSON.stringify(body) });
  if (answer.status !== 202) throw new Error(`${url}: ${answer.status} ${await answer.text()}`);
  return (await answer.json()) as Generation;
}

/**
 * Milliseconds of one picture as its client sees it, less what its worker says that it computed. An event is on its way
 * for a while, which `before` is too long by and `after` too short; `whole` is neither.
 */
interface Overhead {
  /** From the sending to the first step's event, less encoding and one step. */
  before: number;
  /** From the last step's event to the end's, less decoding. */
  after: number;
  /** From the sending to the end's event, less encoding, steps and decoding. */
  whole: number;
}

async function makePicture({ url }: Service, body: object): Promise<{ generation: Generation; overhead: Overhead }> {
  const sent = performance.now();
  const { id } = await post(`${url}/v1/generations`, body);
  const steps: number[] = [];
  let ended: { at: number; generation: Generation } | undefined;
  const parser = createParser({
    onEvent({ event, data }) {
      if (event === "progress") steps.push(performance.now());
      if (event === "succeeded") ended = { at: performance.now(), generation: JSON.parse(data) };
    },
  });
  const answer = await fetch(`${url}/v1/generations/${id}/events`);
  for await (const text of answer.body!.pipeThrough(new TextDecoderStream())) parser.feed(text);
  if (ended === undefined) throw new Error(`the generation ${id} has not succeeded`);
  const { at, generation } = ended;
  const [load, encode, denoise, decode] = [
    generation.metrics.load_ms,
    generation.metrics.encode_ms,
    generation.metrics.denoise_ms,
    generation.metrics.decode_ms,
  ].map((ms) => ms ?? 0) as [number, number, number, number];
  const overhead = {
    before: steps[0]! - sent - load - encode - denoise / STEPS,
    after: at - steps.at(-1)! - decode,
    whole: at - sent - load - encode - denoise - decode,
  };
  return { generation, overhead };
}

async function measureOverhead(service: Service, pictures: number): Promise<void> {
  await makePicture(service, SMALL); // loads the networks
  const all: Overhead[] = [];
  while (all.length < pictures) all.push((await makePicture(service, SMALL)).overhead);
  const row = (what: string, part: keyof Overhead) => [what, ...spread(all.map((one) => one[part]))];
  printTable(
    [`what the service adds to a picture of ${STEPS} steps (${pictures} pictures)`, "p50, ms", "p99, ms", "max, ms"],
    [
      row("request to first step", "before"),
      row("last step to result", "after"),
      row("all of it, request to result", "whole"),
    ],
  );
}

async function measureSaving(service: Service, pictures: number): Promise<void> {
  const rows: (string | number)[][] = [];
  const log = () => service.worker!.output.split("\n").filter((line) => line.includes('"steps done"'));
  for (let n = 0; n < pictures; n++) {
    const { generation } = await makePicture(service, { ...LARGE, seed: n });
    const line = await until("the worker's log", async () => log().find((line) => line.includes(generation.id)));
    const { states, bytes, ms } = JSON.parse(line).saving as { states: number; bytes: number; ms: number };
    const seconds = generation.metrics.denoise_ms! / 1000;
    if (states === 0) throw new Error(`${STEPS} steps took ${seconds} s: too short for a state to be saved`);
    const share = `${(ms / seconds / 10).toFixed(3)} %`;
    rows.push([seconds.toFixed(1), states, (bytes / 1024).toFixed(0), (ms / states).toFixed(2), share]);
  }
  printTable([`${STEPS} steps at 512², s`, "states saved", "kB each", "ms each", "share of the steps' time"], rows);
}

/** Cancels what runs, at any moment within a step, while the next one waits. */
async function measureCancel({ url, connection }: Service, cancels: number): Promise<void> {
  const heard: { id: string; at: number }[] = [];
  const subscriber = connection.duplicate();
  subscriber.on("message", (_, id) => heard.push({ id, at: performance.now() }));
  await subscriber.subscribe(EVENT_CHANNEL);
  const of = (id: string) => heard.filter((one) => one.id === id);

  const waits: number[] = [];
  const steps: number[] = [];
  let running = await post(`${url}/v1/generations`, LONG);
  for (let n = 0; n < cancels; n++) {
    const next = await post(`${url}/v1/generations`, LONG);
    await until("some steps", async () => of(running.id).length >= 6, GENEROUS_MS); // queued, started, and 4 steps
    const times = of(running.id).slice(2);
    const intervals = times.slice(1).map(({ at }, i) => at - times[i]!.at);
    steps.push(...intervals);
    await sleep(Math.random() * quantile(intervals, 0.5));
    const before = of(next.id).length; // that it is queued
    const asked = performance.now();
    await post(`${url}/v1/generations/${running.id}/cancel`);
    const taken = await until("the next to be taken", async () => of(next.id)[before], GENEROUS_MS);
    waits.push(taken.at - asked);
    running = next;
  }
  subscriber.disconnect();
  await post(`${url}/v1/generations/${running.id}/cancel`);
  const step = quantile(steps, 0.5);
  printTable(
    [`canceled while running (${cancels} times; a step takes ${step.toFixed(0)} ms)`, "p50, ms", "p99, ms", "max, ms"],
    [
      ["cancel sent to next generation taken", ...spread(waits)],
      ["the same, less one step", ...spread(waits.map((wait) => wait - step))],
    ],
  );
}

export async function run(): Promise<void> {
  const short = process.env.SHORT !== undefined;
  await using stack = new AsyncDisposableStack();
  const service = await startService(stack, { work: true });
  await measureOverhead(service, short ? 3 : 50);
  await measureSaving(service, short ? 1 : 5);
  await measureCancel(service, short ? 3 : 50);
}
