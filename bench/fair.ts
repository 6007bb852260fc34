/**
 * npm run bench fair: two mixed loads on one worker, long generations and short ones: how long the short ones take, from the sending to
 * the end, when long ones give way to them, and when they do not. A gateway and a worker as processes, the tiny networks of the tests.
 * SHORT=1 is for trying the bench itself.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { OWNER_WITHOUT_KEYS } from "../src/config/api-keys.ts";
import { ownedKey } from "../src/jobs/keys.ts";
import { KINDS } from "../src/jobs/kinds.ts";
import type { Generation } from "../src/schema/generation.ts";
import { startService } from "../test/support/service.ts";
import { printTable, quantile } from "./table.ts";

const LONGS = process.env.SHORT ? 1 : 2;
const SHORTS = process.env.SHORT ? 3 : 20;
const LONG = { prompt: "a town", num_images: 8, num_inference_steps: 150, width: 128, height: 128 };
const SHORT = { prompt: "a house", num_inference_steps: 1 };
/** From the sending of one short one to that of the next. */
const EVERY_MS = 1000;
const HEADERS = { "Content-Type": "application/json" };

interface Measured {
  shorts: number[];
  longs: number[];
  seconds: number;
}

async function measure(givesWay: boolean): Promise<Measured> {
  await using stack = new AsyncDisposableStack();
  const { url, connection } = await startService(stack, { work: true });
  const make = async (body: object): Promise<number> => {
    const sent = performance.now();
    const init = { method: "POST", headers: HEADERS, body: JSON.stringify(body) };
    const { id } = (await (await fetch(`${url}/v1/generations`, init)).json()) as Generation;
    // What is not in this list is given way to by none: so was it before there was one.
    if (!givesWay) await connection.del(`${ownedKey(KINDS.generation, OWNER_WITHOUT_KEYS)}:shortest`);
    await (await fetch(`${url}/v1/generations/${id}/events`)).text(); // to its end
    const { status } = (await (await fetch(`${url}/v1/generations/${id}`)).json()) as Generation;
    if (status !== "succeeded") throw new Error(`${id} ${status}`);
    return performance.now() - sent;
  };
  await make(SHORT); // loads the networks
  const begun = performance.now();
  const longs = Array.from({ length: LONGS }, (_, seed) => make({ ...LONG, seed }));
  const shorts = Array.from({ length: SHORTS }, async (_, seed) => {
    await sleep(EVERY_MS * (1 + seed));
    return make({ ...SHORT, seed });
  });
  const [all, quick] = await Promise.all([Promise.all(longs), Promise.all(shorts)]);
  return { shorts: quick, longs: all, seconds: (performance.now() - begun) / 1000 };
}

export async function run(): Promise<void> {
  const rows = [];
  for (const givesWay of [false, true]) {
    const { shorts, longs, seconds } = await measure(givesWay);
    const of = (values: number[], q: number) => (quantile(values, q) / 1000).toFixed(2);
    rows.push([
      givesWay ? "long ones give way" : "one after the other",
      of(shorts, 0.5),
      of(shorts, 0.95),
      of(longs, 0.5),
      seconds.toFixed(1),
    ]);
  }
  printTable(
    [
      `${LONGS} × 8 pictures of 150 steps, ${SHORTS} pictures of 1 step, one a second, one worker`,
      "short: p50, s",
      "p95, s",
      "long: p50, s",
      "all, s",
    ],
    rows,
  );
}
