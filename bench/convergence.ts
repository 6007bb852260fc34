/**
 * npm run bench convergence: trains a small model of circles from nothing, then a ControlNet from each start: as the trainer does, with
 * Gaussian convolutions in place of zero ones (the ablation of arXiv 2302.05543, figure 8), and with the hint encoder as diffusers
 * starts it. Follows the loss on pairs that training never saw, with the right hint and with another pair's. Writes
 * docs/convergence.svg and prints the table. Some 20 minutes; killed, it goes on.
 */
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findCheckpoint } from "../src/models/checkpoint.ts";
import { controlnetConfig, parseConfig } from "../src/models/config.ts";
import { StoredWeights } from "../src/models/weights.ts";
import type { Tensor } from "../src/onnx/tensor.ts";
import { TrainingSettings } from "../src/schema/training-request.ts";
import { Draws } from "../src/training/draws.ts";
import { controlnetFrom, type Start } from "../src/training/initialize.ts";
import { controlnetLoss, controlnetStep } from "../src/training/loss.ts";
import { readParameters } from "../src/training/stored.ts";
import { writeCircles } from "../test/support/circles.ts";
import { CPU, openSession } from "../workers/runtime/runtime.ts";
import { readNoising, readUnet } from "../workers/train/components.ts";
import { configFor, openControlnetTraining } from "../workers/train/controlnet.ts";
import { train } from "../workers/train/run.ts";
import { Stepper, startState } from "../workers/train/step.ts";
import { printTable } from "./table.ts";

const FIXTURE = join(import.meta.dirname, "../test/fixtures/sd15/base");
const DOCS = join(import.meta.dirname, "../docs");
const UNET = {
  block_out_channels: [16, 32, 32, 32],
  layers_per_block: 1,
  cross_attention_dim: 32,
  norm_num_groups: 8,
  attention_head_dim: 4,
};
const SIDE = 64;
const [SEEN, UNSEEN] = [1000, 32];
const EVERY = 100;
const COMMON = { resolution: SIDE, lr_scheduler: "cosine" as const, checkpointing_steps: 100 };
const VAE = TrainingSettings.parse({ ...COMMON, max_train_steps: 500, learning_rate: 1e-3, train_batch_size: 4 });
const BASE = TrainingSettings.parse({
  ...COMMON,
  max_train_steps: 1500,
  learning_rate: 2e-3,
  train_batch_size: 8,
  proportion_empty_prompts: 0.1,
  ema_decay: 0.99,
});
const CONTROL = TrainingSettings.parse({
  max_train_steps: 2000,
  learning_rate: 1e-3,
  train_batch_size: 8,
  resolution: SIDE,
});

interface Point {
  readonly step: number;
  readonly right: number;
  readonly wrong: number;
}

const silent = { onPreparing: () => {}, signal: new AbortController().signal };

/** A model of circles in the diffusers layout: configs, then VAE, then base. */
async function makeBase(root: string): Promise<string> {
  const base = join(root, "base");
  if (!existsSync(base)) {
    cpSync(FIXTURE, base, { recursive: true, filter: (file) => !file.endsWith(".safetensors") });
    writeFileSync(join(base, "unet/config.json"), JSON.stringify(UNET));
    const vae = JSON.parse(readFileSync(join(FIXTURE, "vae/config.json"), "utf8"));
    writeFileSync(join(base, "vae/config.json"), JSON.stringify({ ...vae, block_out_channels: [8, 16, 16, 16] }));
  }
  for (const [name, settings] of [["vae", VAE] as const, ["base", BASE] as const]) {
    const done = join(root, `${name}.done`);
    if (!existsSync(done)) {
      const folders = { base, dataset: join(root, "seen"), output: base, work: join(root, name), validation: null };
      const onStep = ({ step, loss }: { step: number; loss: number }) =>
        step % 100 === 0 && console.error(`${name}: step ${step}, loss ${loss.toFixed(4)}`);
      await train(name, folders, settings, { ...silent, onStep });
      writeFileSync(done, "");
    }
  }
  return base;
}

async function follow(root: string, base: string, start: Start): Promise<Point[]> {
  const folders = (dataset: string) => ({
    base,
    dataset: join(root, dataset),
    output: "",
    work: join(root, dataset),
    validation: null,
  });
  const seen = await openControlnetTraining(folders("seen"), CONTROL, silent);
  const judged = { ...CONTROL, train_batch_size: UNSEEN, proportion_empty_prompts: 1 };
  const unseen = await openControlnetTraining(folders("unseen"), judged, silent);

  const unet = findCheckpoint(join(base, "unet"), "diffusion_pytorch_model");
  const config = parseConfig(controlnetConfig, configFor(UNET), "controlnet");
  const state = startState(controlnetFrom(readParameters(unet), config, 1, start), CONTROL);
  const shapes = new Map([...state.parameters.tensors].map(([name, { dims }]) => [name, dims]));
  const cells = SIDE / 8;
  const parts = (batch: number) =>
    [
      new StoredWeights(unet.tensors),
      readUnet(base),
      config,
      shapes,
      { batch, height: cells, width: cells },
      readNoising(base).prediction,
    ] as const;
  const graph = (batch: number) => ({ bytes: controlnetStep(...parts(batch)), folder: unet.folder });
  const stepper = await Stepper.open(graph, CONTROL.train_batch_size, state);
  const judge = await openSession({ bytes: controlnetLoss(...parts(UNSEEN)), folder: unet.folder }, CPU);

  const right = await unseen.feeds(new Draws(judged, unseen.count).batch(0));
  const wrong = { ...right, hint: turned(right.hint!) };
  const lossOf = async (feeds: Record<string, Tensor>) =>
    Number((await judge.run({ ...feeds, ...Object.fromEntries(state.parameters.tensors) })).loss!.data[0]);
  const draws = new Draws(CONTROL, seen.count);
  const points: Point[] = [];
  for (let step = 0; step <= CONTROL.max_train_steps; step++) {
    if (step % EVERY === 0) {
      points.push({ step, right: await lossOf(right), wrong: await lossOf(wrong) });
      console.error(start, points.at(-1));
    }
    await stepper.accumulate(await seen.feeds(draws.batch(step)));
    stepper.update(step + 1, CONTROL);
  }
  await stepper.release();
  await judge.release();
  return points;
}

/** Each row's hint exchanged for the next row's. */
function turned({ dims, data }: Tensor): Tensor {
  const size = data.length / dims[0]!;
  const other = new Float32Array(data.length);
  other.set((data as Float32Array).subarray(size));
  other.set((data as Float32Array).subarray(0, size), data.length - size);
  return { dims, data: other };
}

const [WIDTH, HEIGHT, MARGIN] = [800, 400, 50];
const LABELS = {
  zero: { colour: "#1f77b4", words: "as the trainer starts" },
  gaussian: { colour: "#d62728", words: "Gaussian convolutions" },
  diffusers: { colour: "#2ca02c", words: "hint encoder as in diffusers" },
} satisfies Record<Start, object>;
const STARTS = Object.keys(LABELS) as Start[];

function plot(curves: Record<Start, readonly Point[]>): string {
  const all = Object.values(curves).flat();
  const values = all.flatMap(({ right, wrong }) => [right, wrong]);
  // Logarithmic: Gaussian convolutions begin far above.
  const [low, high] = [Math.log(Math.min(...values)), Math.log(Math.max(...values))];
  const x = (step: number) => MARGIN + (step / CONTROL.max_train_steps) * (WIDTH - 2 * MARGIN);
  const y = (loss: number) => HEIGHT - MARGIN - ((Math.log(loss) - low) / (high - low)) * (HEIGHT - 2 * MARGIN);
  const line = (points: readonly Point[], which: "right" | "wrong", colour: string) => {
    const path = points.map((point) => `${x(point.step).toFixed(1)},${y(point[which]).toFixed(1)}`).join(" ");
    const dashes = which === "wrong" ? ' stroke-dasharray="5 4"' : "";
    return `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"${dashes}/>`;
  };
  const text = (at: string, words: string | number) =>
    `<text ${at} font-family="sans-serif" font-size="13">${words}</text>`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="white"/>`,
    `<path d="M${MARGIN} ${MARGIN}V${HEIGHT - MARGIN}H${WIDTH - MARGIN}" fill="none" stroke="black"/>`,
    ...STARTS.flatMap((start, i) => [
      line(curves[start], "right", LABELS[start].colour),
      line(curves[start], "wrong", LABELS[start].colour),
      text(`x="${WIDTH - 230}" y="${MARGIN + 10 + 18 * i}" fill="${LABELS[start].colour}"`, LABELS[start].words),
    ]),
    text(
      `x="${MARGIN}" y="${MARGIN - 15}"`,
      "loss on unseen pairs (logarithmic); whole line: the right hint, dashes: another pair's",
    ),
    text(`x="${MARGIN - 8}" y="${MARGIN + 5}" text-anchor="end"`, Math.exp(high).toPrecision(2)),
    text(`x="${MARGIN - 8}" y="${HEIGHT - MARGIN + 5}" text-anchor="end"`, Math.exp(low).toPrecision(2)),
    text(`x="${WIDTH - MARGIN}" y="${HEIGHT - MARGIN + 20}" text-anchor="end"`, `${CONTROL.max_train_steps} steps`),
    "</svg>",
  ].join("\n");
}

export async function run(): Promise<void> {
  const root = join(process.env.DATA_DIR ?? tmpdir(), "convergence");
  for (const [name, count, first] of [["seen", SEEN, 0] as const, ["unseen", UNSEEN, SEEN] as const]) {
    if (!existsSync(join(root, name, "prompt.json"))) {
      await writeCircles(join(root, name), count, SIDE, first);
    }
  }
  const base = await makeBase(root);
  const curves = {} as Record<Start, Point[]>;
  for (const start of STARTS) {
    const file = join(root, `${start}.json`);
    if (!existsSync(file)) {
      writeFileSync(file, JSON.stringify(await follow(root, base, start)));
    }
    curves[start] = JSON.parse(readFileSync(file, "utf8"));
  }
  mkdirSync(DOCS, { recursive: true });
  writeFileSync(join(DOCS, "convergence.svg"), `${plot(curves)}\n`);
  const rows = curves.zero.map(({ step }, i) => [
    step,
    ...STARTS.flatMap((start) => [curves[start][i]!.right.toFixed(4), curves[start][i]!.wrong.toFixed(4)]),
  ]);
  printTable(
    ["step", ...STARTS.flatMap((start) => [`${LABELS[start].words}: right hint`, "wrong hint"])],
    rows.filter(([step]) => Number(step) % (5 * EVERY) === 0),
  );
}
