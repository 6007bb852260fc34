/**
 * npm run train -- controlnet|base|vae --base DIR --dataset DIR --output DIR [--work DIR] [--validation FILE] [--max_train_steps N …]
 * Trains a network; killed or interrupted, the same command goes on.
 */
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { readConfig } from "../../src/config/config.ts";
import { TrainingSettings, tooManyPixels } from "../../src/schema/training-request.ts";
import type { StepRecord } from "../../src/training/curve.ts";
import { describeNeed, requireMemory } from "./memory.ts";
import { type SubjectName, subjects, train } from "./run.ts";

const FOLDERS = ["base", "dataset", "output"] as const;
const WIDTH = 30;
/** How many steps the shown loss is the mean of. */
const RECENT = 50;

/** The command line's words are text; a setting's own type is read off its schema. */
function readSettings(values: Readonly<Record<string, string | undefined>>): TrainingSettings {
  const given = Object.entries(values).filter(([name, value]) => value !== undefined && name in TrainingSettings.shape);
  const parsed = TrainingSettings.safeParse(
    Object.fromEntries(
      given.map(([name, value]) => [
        name,
        value === "true" ? true : value === "false" ? false : Number.isNaN(Number(value)) ? value : Number(value),
      ]),
    ),
  );
  if (!parsed.success) {
    throw new Error(parsed.error.issues.map(({ path, message }) => `--${path.join(".")}: ${message}`).join("\n"));
  }
  return parsed.data;
}

function readCommandLine() {
  const names = [...FOLDERS, "work", "validation", ...Object.keys(TrainingSettings.shape)];
  const { values, positionals } = parseArgs({
    options: Object.fromEntries(names.map((name) => [name, { type: "string" as const }])),
    allowPositionals: true,
  });
  const [subject = ""] = positionals;
  if (positionals.length !== 1 || !(subject in subjects)) {
    throw new Error(`say what to train: ${Object.keys(subjects).join(", ")}`);
  }
  const missing = FOLDERS.filter((name) => values[name] === undefined);
  if (missing.length > 0) {
    throw new Error(`missing: ${missing.map((name) => `--${name} DIR`).join(" ")}`);
  }
  const { base, dataset, output } = values as Record<(typeof FOLDERS)[number], string>;
  const { DATA_DIR, MAX_PIXELS, MEMORY_BUDGET } = readConfig(
    Object.fromEntries(["DATA_DIR", "MAX_PIXELS", "MEMORY_BUDGET"].map((name) => [name, process.env[name]])),
  );
  const work = (values.work as string | undefined) ?? join(DATA_DIR, "trainings", `${subject}-${basename(output)}`);
  const settings = readSettings(values as Record<string, string | undefined>);
  const pixels = tooManyPixels(settings, MAX_PIXELS);
  if (pixels !== null) {
    throw new Error(`--${pixels.path}: ${pixels.message}`);
  }
  return {
    subject: subject as SubjectName,
    folders: { base, dataset, output, work, validation: values.validation ?? null },
    settings,
    memoryBudget: MEMORY_BUDGET,
  };
}

const line = (text: string) => process.stdout.write(process.stdout.isTTY ? `\r\x1b[K${text}` : `${text}\n`);
const bar = (share: number) => "█".repeat(Math.round(share * WIDTH)).padEnd(WIDTH, "░");
const clock = (seconds: number) => new Date(seconds * 1000).toISOString().slice(11, 19);

/** One line that says how far the training is. Without a terminal, one line for every hundredth part. */
function progress(total: number): (record: StepRecord) => void {
  const losses: number[] = [];
  let before: number | null = null;
  let seconds = 0;
  return ({ step, loss }) => {
    losses.push(loss);
    if (losses.length > RECENT) {
      losses.shift();
    }
    const now = performance.now();
    if (before !== null) {
      const took = (now - before) / 1000;
      seconds = seconds === 0 ? took : 0.9 * seconds + 0.1 * took;
    }
    before = now;
    if (process.stdout.isTTY || step % Math.ceil(total / 100) === 0 || step === total) {
      const mean = losses.reduce((sum, value) => sum + value, 0) / losses.length;
      const left = clock(seconds * (total - step));
      line(
        `${bar(step / total)} ${step}/${total}  loss ${mean.toFixed(4)}  ${seconds.toFixed(2)} s/step  ${left} left`,
      );
    }
  };
}

async function main(): Promise<number> {
  const { subject, folders, settings, memoryBudget } = readCommandLine();
  const stop = new AbortController();
  process.once("SIGINT", () => stop.abort());
  process.once("SIGTERM", () => stop.abort());
  const finished = await train(subject, folders, settings, {
    onPreparing: (what, done, total) => process.stdout.isTTY && line(`reading ${what} ${done + 1}/${total}`),
    onMemory(need) {
      requireMemory(need, memoryBudget);
      line(`it needs ${describeNeed(need)}\n`);
    },
    onStep: progress(settings.max_train_steps),
    signal: stop.signal,
  });
  line(
    finished
      ? `${folders.output} is trained; its loss: ${join(folders.work, "loss.png")}\n`
      : "stopped; the same command goes on\n",
  );
  return finished ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error instanceof Error ? `${error.name}: ${error.message}` : error);
  process.exitCode = 1;
}
