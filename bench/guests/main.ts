/**
 * npm run bench guests [SECONDS]: what one key can do to another's work. For so many seconds (60) each attack runs beside somebody who uses
 * the service as it is meant; a line without an attack comes first. The whole service runs, on the demo's checkpoint.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { maxMemory } from "../../src/redis/memory.ts";
import { freeBytes, RESERVE_BYTES } from "../../src/storage/room.ts";
import { elsewhere } from "../../test/support/elsewhere.ts";
import { temporaryFolder } from "../folders.ts";
import { loadOf, ROLES, type Running, startStack } from "../stack.ts";
import { printTable, quantile } from "../table.ts";
import type { Answers, Job } from "./attacker.ts";
import { ATTACKS } from "./attacks.ts";
import { live, type Seen } from "./neighbor.ts";

const KEYS = { mallory: "m".repeat(24), ann: "a".repeat(24) };
const LOOK_MS = 250;
/** Aims: an accepted job fails never; a picture is got within so many ms; the gateway holds so many MB. */
const AIM_GET_MS = 200;
const AIM_GATEWAY_MB = 1024;

const first = JSON.parse(readFileSync(join(import.meta.dirname, "../../demo/first-request.json"), "utf8"));
const request = { ...first, num_inference_steps: 4 };
const png = Buffer.from(String(first.controls[0].image).split(",")[1]!, "base64");

export async function run(seconds = 60): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const only = process.env.ATTACKS?.split(",");
  const attacks = Object.keys(ATTACKS).filter((name) => only === undefined || only.includes(name.split(":")[0]!));
  const service = await startStack(stack, KEYS, { MAX_QUEUE: "500" });
  console.log(`${seconds} s each; load before: ${loadOf()}`);
  await measure(service, Math.min(seconds, 10), null); // what is first is slow
  const rows = [await measure(service, seconds, null)];
  for (const name of attacks) {
    rows.push(await measure(service, seconds, name));
    await calm(service);
  }
  const told = rows.map((row) => row.line);
  printTable(
    [
      "attack",
      "GET p99, ms",
      "generations",
      "p50, p99, longest, s",
      "upload p99, ms",
      "event p99, ms",
      "refused, then taken",
      "failures",
      ...ROLES.map((role) => `${role}, MB`),
      "Redis' memory, MB",
      "disk free at least, GB",
      "its answers",
    ],
    told,
  );
  const starts = Object.entries(service.starts()).filter(([, count]) => count > 1);
  const missed = [...rows.flatMap((row) => row.missed), ...starts.map(([role]) => `the ${role} has died`)];
  for (const line of missed) console.log(`missed: ${line}`);
  if (missed.length > 0) process.exitCode = 1;
}

/** So many seconds of the neighbor's life, beside an attack. */
async function measure(service: Running, seconds: number, attack: string | null) {
  await using stack = new AsyncDisposableStack();
  const most = { ...service.resident(), memory: 0 };
  let free = Number.POSITIVE_INFINITY;
  const look = async () => {
    for (const [role, value] of Object.entries(service.resident())) {
      most[role as keyof typeof most] = Math.max(most[role as keyof typeof most], value);
    }
    free = Math.min(free, await freeBytes(service.dataDir));
    most.memory = Math.max(most.memory, await service.redisMemory().catch(() => 0));
  };
  const over = AbortSignal.timeout(1000 * seconds);
  const job: Job = { attack: attack!, url: service.url, key: KEYS.mallory, seconds, folder: temporaryFolder("attack") };
  const attacking = attack && elsewhere(stack, new URL("attacker.ts", import.meta.url), job).next<Answers>();
  const looking = (async () => {
    while (!over.aborted) await look().then(() => sleep(LOOK_MS));
  })();
  const seen = await live(service.url, KEYS.ann, request, png, over);
  await looking;
  const answers = attacking ? await attacking.catch((error: Error) => ({ [error.message]: 1 })) : {};
  return { line: lineOf(attack, seen, most, free, answers), missed: missedBy(attack, seen, most, free) };
}

const milliseconds = (values: readonly number[]) => quantile(values, 0.99).toFixed(0);

function lineOf(
  attack: string | null,
  seen: Seen,
  most: Record<(typeof ROLES)[number] | "memory", number>,
  free: number,
  answers: Answers,
) {
  const took = [quantile(seen.generations, 0.5), quantile(seen.generations, 0.99), seen.longest];
  const inSeconds = took.map((ms) => (ms / 1000).toFixed(1));
  const statuses = Object.entries(answers).map(([status, count]) => `${count} × ${status}`);
  return [
    attack ?? "none",
    milliseconds(seen.gets),
    seen.generations.length,
    inSeconds.join(", "),
    milliseconds(seen.uploads),
    milliseconds(seen.events),
    seen.refused,
    seen.failures.length,
    ...ROLES.map((role) => most[role].toFixed(0)),
    most.memory.toFixed(0),
    (free / 1e9).toFixed(1),
    statuses.join(", "),
  ];
}

function missedBy(attack: string | null, seen: Seen, most: { gateway: number; memory: number }, free: number) {
  const gets = quantile(seen.gets, 0.99);
  const missed = [
    ...[...new Set(seen.failures)].slice(0, 5),
    ...(gets <= AIM_GET_MS ? [] : [`p99 of a GET of a picture is ${gets.toFixed(0)} ms`]),
    ...(most.gateway <= AIM_GATEWAY_MB ? [] : [`the gateway held ${most.gateway.toFixed(0)} MB`]),
    ...(most.memory * 2 ** 20 <= maxMemory() ? [] : ["Redis has more than its maxmemory"]),
    ...(free >= RESERVE_BYTES ? [] : ["the reserve was touched"]),
  ];
  return missed.map((line) => `${attack ?? "none"}: ${line}`);
}

/** Ends what an attack has left, so that the next one is seen alone. */
async function calm({ url }: Running): Promise<void> {
  const headers = { authorization: `Bearer ${KEYS.mallory}` };
  for (const kind of ["generations", "trainings"]) {
    for (const status of ["queued", "processing"]) {
      for (;;) {
        const answer = await fetch(`${url}/v1/${kind}?status=${status}&limit=100`, { headers });
        const { data = [] } = (await answer.json()) as { data?: { id: string }[] };
        const cancel = ({ id }: { id: string }) =>
          fetch(`${url}/v1/${kind}/${id}/cancel`, { method: "POST", headers }).then((one) => one.body?.cancel());
        await Promise.all(data.map(cancel));
        if (data.length === 0) break;
        await sleep(200);
      }
    }
  }
}
