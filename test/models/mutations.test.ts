/** Configs with keys dropped, added and of other types, against what diffusers' classes make of them: fixtures/make/mutations.py. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { gunzipSync } from "node:zlib";
import { NoiseGenerator } from "../../src/diffusion/noise.ts";
import { defaultScheduler } from "../../src/diffusion/own-scheduler.ts";
import { requestConfig } from "../../src/diffusion/request-config.ts";
import { createSampler, StepCountError } from "../../src/diffusion/samplers.ts";
import { type RawConfig, SchedulerConfigError } from "../../src/diffusion/scheduler-config.ts";
import { UnsupportedError } from "../../src/models/config.ts";
import { CheckpointError } from "../../src/models/safetensors.ts";
import { ShapeError } from "../../src/onnx/value.ts";
import { MUTATED } from "../support/mutated.ts";
import { request, SD15 } from "../support/tiny.ts";

type Edits = Readonly<Record<string, unknown>>;
/** Values at four places; null = refused. In the table, "plain" stands for those of the unchanged config. */
type Made = readonly number[] | "plain" | "nan" | "left out" | null;

const file = join(import.meta.dirname, "../fixtures/mutations.json.gz");
const table = JSON.parse(gunzipSync(readFileSync(file)).toString()) as {
  scheduler: [object];
  schedulers: { edits: Edits; last: Made }[];
} & Record<keyof typeof MUTATED, { edits: Edits; out: Made }[]>;

const BETAS = Array.from({ length: 1000 }, (_, i) => 0.001 + 0.00001 * i);

function changed(config: object, edits: Edits): Record<string, unknown> {
  const next: Record<string, unknown> = { ...config };
  for (const [key, value] of Object.entries(edits)) {
    if (typeof value === "object" && value !== null && "$drop" in value) delete next[key];
    else next[key] = value === "$betas" ? BETAS : value;
  }
  return next;
}

/** Errors that say what of a file is not carried out. */
const REFUSALS = [SchedulerConfigError, StepCountError, UnsupportedError, CheckpointError, ShapeError];

/** What is made, or null where it is refused. */
async function made(make: () => Made | Promise<Made>): Promise<Made> {
  try {
    return await make();
  } catch (error) {
    if (REFUSALS.some((kind) => error instanceof kind)) return null;
    throw error;
  }
}

const near = (a: readonly number[], b: readonly number[]) =>
  a.every((value, i) => Math.abs(value - b[i]!) <= 1e-3 * Math.max(1, Math.abs(b[i]!)));

/** What a text encoder's config says to nobody here: diffusers refuses some values, and JSON does not tell 1 from 1.0. */
const UNHEARD = ["return_dict", "dtype", "id2label", "initializer_range", "initializer_factor"];

/** What is refused here is never wrong; what is made here must be what diffusers makes. Where that overflows there is no answer. */
function verdictOf(own: Made, expected: Made, edits: Edits): string {
  if (own === "left out") return own;
  if (own === null) return expected === null ? "refused by both" : "refused here alone";
  if (expected === "nan") return "not finite there";
  if (expected === null && Object.keys(edits).every((key) => UNHEARD.includes(key))) return "of no effect";
  return Array.isArray(own) && Array.isArray(expected) && near(own, expected) ? "the same" : "otherwise";
}

/** Counts what became of each, and fails where something is made otherwise than in diffusers. */
async function compare<Row extends { edits: Edits }>(
  t: TestContext,
  rows: readonly Row[],
  expected: (row: Row) => Made,
  make: (edits: Edits) => Made | Promise<Made>,
) {
  const counts: Record<string, number> = {};
  const wrong: unknown[] = [];
  for (const row of rows) {
    const own = await made(() => make(row.edits));
    const verdict = verdictOf(own, expected(row), row.edits);
    counts[verdict] = (counts[verdict] ?? 0) + 1;
    if (verdict === "otherwise") wrong.push({ edits: row.edits, own, expected: expected(row) });
  }
  const list = Object.entries(counts).map(([verdict, count]) => `${count} ${verdict}`);
  t.diagnostic(`${rows.length} configs: ${list.join(", ")}`);
  assert.deepEqual(wrong, []);
}

/** Of the networks that are another than the unchanged one, each so manieth is built and run; with MUTATIONS=all, all of them. */
const EACH = process.env.MUTATIONS === "all" ? 1 : 40;

const isEqual = (a: object, b: object) => JSON.stringify(a) === JSON.stringify(b);

const STEPS = 5;
/** As mutations.py does it; null also where another scheduler would make it, with a warning. */
function last(raw: RawConfig): Made {
  const { scheduler, warnings } = defaultScheduler(raw);
  if (warnings.length > 0) return null;
  const { config } = requestConfig(raw, request({ scheduler, num_inference_steps: STEPS }), 1);
  const sampler = createSampler(scheduler, config, STEPS);
  const noise = new NoiseGenerator(80);
  let state = sampler.start(noise.normal(64).map((x) => x * sampler.initNoiseSigma));
  for (const t of sampler.timesteps) {
    const output = sampler.input(state).map((x) => Math.tanh(0.7 * x + t / 1000));
    state = sampler.next(state, output, (count) => noise.normal(count));
  }
  return [0, 21, 42, 63].map((i) => state.latents[i]!);
}

test("no scheduler_config.json is carried out that diffusers refuses, or otherwise than there", (t) =>
  compare(
    t,
    table.schedulers,
    (row) => row.last,
    (edits) => last(changed(table.scheduler[0], edits)),
  ));

for (const [name, { folder, open }] of Object.entries(MUTATED)) {
  test(`no config.json of a ${name} is carried out that diffusers refuses, or otherwise than there`, async (t) => {
    const json = JSON.parse(readFileSync(join(SD15, folder, "config.json"), "utf8"));
    const plain = open(json);
    const [first, ...rows] = table[name as keyof typeof MUTATED];
    assert.ok(near(await plain.values(), first!.out as readonly number[]), "the unchanged config's values");
    let built = 0;
    await compare(
      t,
      rows,
      (row) => (row.out === "plain" ? first!.out : row.out),
      async (edits) => {
        const opened = open(changed(json, edits));
        if (isEqual(opened.config, plain.config)) return first!.out;
        return built++ % EACH === 0 ? opened.values() : "left out";
      },
    );
  });
}
