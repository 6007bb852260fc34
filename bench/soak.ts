/**
 * npm run bench soak [MINUTES]: an hour (60) of mixed work on the whole service, and what each process holds, every 10 s, drawn as a
 * plot. After the first tenth of the time, which warms up, memory is to be flat. 60 minutes or more draw docs/soak.svg anew.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { live } from "./guests/neighbor.ts";
import { loadOf, ROLES, type Role, startStack } from "./stack.ts";
import { median, printTable } from "./table.ts";

const EVERY_MS = 10_000;
const KEYS = { ann: "a".repeat(24), bob: "b".repeat(24) };
const ROOT = join(import.meta.dirname, "..");
const first = JSON.parse(readFileSync(join(ROOT, "demo/first-request.json"), "utf8"));
const png = Buffer.from(String(first.controls[0].image).split(",")[1]!, "base64");

/** Two who use it: one with control images, the other without and in another size. */
const LOADS = [
  [KEYS.ann, { ...first, num_inference_steps: 4 }],
  [KEYS.bob, { prompt: "a tree", num_inference_steps: 6, width: 192, height: 128, num_images: 2 }],
] as const;

interface Sample {
  minutes: number;
  resident: Record<Role, number>;
}

export async function run(minutes = 60): Promise<void> {
  await using stack = new AsyncDisposableStack();
  // Results go while it runs, as they do in a service that has run for longer than RESULT_TTL.
  const service = await startStack(stack, KEYS, {
    RESULT_TTL: String(Math.ceil(6 * minutes)),
    MAX_KEPT_PER_KEY: "500",
  });
  console.log(`${minutes} minutes; load before: ${loadOf()}`);
  const over = AbortSignal.timeout(60_000 * minutes);
  const samples: Sample[] = [];
  const started = performance.now();
  const sampling = (async () => {
    while (!over.aborted) {
      samples.push({ minutes: (performance.now() - started) / 60_000, resident: service.resident() });
      await sleep(Math.min(EVERY_MS, 1000 * minutes), undefined, { signal: over }).catch(() => {});
    }
  })();
  const seen = await Promise.all(LOADS.map(([key, request]) => live(service.url, key, request, png, over)));
  await sampling;

  const file = minutes >= 60 ? join(ROOT, "docs/soak.svg") : join(tmpdir(), "soak.svg");
  writeFileSync(file, plot(samples));
  const rows = ROLES.map((role) => {
    const warm = samples.slice(Math.floor(samples.length / 10)).map(({ resident }) => resident[role]);
    const third = Math.ceil(warm.length / 3);
    const [early, late] = [median(warm.slice(0, third)), median(warm.slice(-third))];
    return [role, ...[early, late, late - early, Math.max(...warm)].map((value) => value.toFixed(0))];
  });
  printTable(["process, MB", "first third, after warming up", "last third", "grown by", "most"], rows);
  const [generations, pictures, uploads, failures] = (["generations", "gets", "uploads", "failures"] as const).map(
    (what) => seen.reduce((sum, one) => sum + one[what].length, 0),
  );
  console.log(
    `${generations} generations, ${pictures} pictures got, ${uploads} uploads, ${failures} failures; ${file}`,
  );
  for (const line of seen.flatMap((one) => one.failures).slice(0, 5)) console.log(line);
  if (failures! > 0 || Object.values(service.starts()).some((count) => count > 1)) process.exitCode = 1;
}

const [WIDTH, HEIGHT] = [900, 440];
/** Around the plot: the names of the lines stand at their ends. */
const [LEFT, RIGHT, TOP, BOTTOM] = [60, 140, 50, 50];
const COLORS = { gateway: "#1f77b4", worker: "#d62728", trainer: "#9467bd", deliver: "#8c564b", redis: "#2ca02c" };
const LINE_HEIGHT = 16;

/** Round numbers from 0 to what is no less than `most`, five to ten of them. */
function ticks(most: number): number[] {
  const power = 10 ** Math.floor(Math.log10(most));
  const step = [0.1, 0.2, 0.5, 1].map((share) => share * power).find((one) => most / one <= 9) ?? power;
  return Array.from({ length: Math.ceil(most / step) + 1 }, (_, n) => Number((n * step).toPrecision(6)));
}

/** An SVG of what each process holds over the time. */
function plot(samples: readonly Sample[]): string {
  const megabytes = ticks(Math.max(...samples.flatMap(({ resident }) => Object.values(resident)), 1));
  const last = Math.max(samples.at(-1)?.minutes ?? 0, 1e-9);
  const [right, bottom] = [WIDTH - RIGHT, HEIGHT - BOTTOM];
  const x = (minutes: number) => (LEFT + (minutes / last) * (right - LEFT)).toFixed(1);
  const y = (value: number) => (bottom - (value / megabytes.at(-1)!) * (bottom - TOP)).toFixed(1);
  const text = (at: string, words: string) => `<text ${at} font-family="sans-serif" font-size="13">${words}</text>`;
  const rules = megabytes.map(
    (value) =>
      `<path d="M${LEFT} ${y(value)}H${right}" stroke="#ddd"/>${text(`x="${LEFT - 6}" y="${Number(y(value)) + 4}" text-anchor="end"`, String(value))}`,
  );
  const times = ticks(last)
    .filter((minutes) => minutes <= last)
    .map((minutes) => text(`x="${x(minutes)}" y="${bottom + 20}" text-anchor="middle"`, String(minutes)));
  const ends = ROLES.map((role) => ({ role, end: samples.at(-1)?.resident[role] ?? 0 })).sort((a, b) => b.end - a.end);
  let free = 0; // where the next name may stand
  const lines = ends.map(({ role, end }) => {
    const points = samples.map(({ minutes, resident }) => `${x(minutes)},${y(resident[role])}`).join(" ");
    const at = Math.max(Number(y(end)) + 4, free);
    free = at + LINE_HEIGHT;
    const name = text(`x="${right + 8}" y="${at}" fill="${COLORS[role]}"`, `${role}, ${end.toFixed(0)} MB`);
    return `<polyline points="${points}" fill="none" stroke="${COLORS[role]}" stroke-width="1.5"/>${name}`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="white"/>`,
    text(`x="${LEFT}" y="24"`, "Memory of each process under mixed work (resident, MB)"),
    ...rules,
    ...times,
    `<path d="M${LEFT} ${TOP}V${bottom}H${right}" fill="none" stroke="black"/>`,
    text(`x="${right}" y="${bottom + 40}" text-anchor="end"`, "minutes"),
    ...lines,
    "</svg>\n",
  ].join("\n");
}
