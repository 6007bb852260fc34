/**
 * npm run demo:reader: trains the reader of demo/reader.ts, in some minutes, on scenes that the demo was trained on: half of them as
 * they are, half as the demo's VAE makes them, because what it will read has been through its decoder.
 */
import { DEMO_MODELS_DIR } from "../src/config/config.ts";
import { stack } from "../src/diffusion/rows.ts";
import { sample } from "../src/image/hint.ts";
import { initialize } from "../src/training/initialize.ts";
import { learningRate } from "../src/training/learning-rate.ts";
import { writeSafetensors } from "../src/training/stored.ts";
import { Stepper, startState } from "../workers/train/step.ts";
import { openDemo } from "./models.ts";
import { READER, readerShapes, readerStep } from "./reader.ts";
import { SIDE } from "./world/landscape.ts";
import { visibleParts } from "./world/maps.ts";
import { CLASSES } from "./world/part.ts";
import { render } from "./world/render.ts";
import { scene } from "./world/scene.ts";

const [SCENES, STEPS, BATCH] = [1600, 1400, 8];
const schedule = { learning_rate: 3e-3, lr_scheduler: "cosine", lr_warmup_steps: 50, max_train_steps: STEPS } as const;
const optimizer = { adam_weight_decay: 0.01, max_grad_norm: 1, ema_decay: 0.99 };

const demo = openDemo(process.env.MODELS_DIR ?? DEMO_MODELS_DIR);

interface Example {
  readonly image: Float32Array;
  /** Of each pixel, its place in CLASSES. */
  readonly classes: Uint8Array;
}

async function example(seed: number): Promise<Example> {
  const one = scene(seed);
  const picture = await render(one);
  const shown = await visibleParts(one.parts);
  return {
    image: sample(seed % 2 === 0 ? picture : await demo.reconstruct(picture)),
    classes: Uint8Array.from(shown, (part) => CLASSES.indexOf(one.parts[part]!.class)),
  };
}

/** Rare classes count for more: the reciprocal root of their share of all pixels. */
function weightsOf(examples: readonly Example[]): number[] {
  const counts = CLASSES.map(() => 1);
  for (const { classes } of examples) {
    for (const kind of classes) {
      counts[kind]! += 1;
    }
  }
  return counts.map((count) => Math.sqrt((examples.length * SIDE * SIDE) / CLASSES.length / count));
}

/** 1 at each pixel's class, [SIDE · SIDE · classes]. */
function oneHot({ classes }: Example): Float32Array {
  const truth = new Float32Array(classes.length * CLASSES.length);
  classes.forEach((kind, p) => {
    truth[p * CLASSES.length + kind] = 1;
  });
  return truth;
}

const batchOf = (examples: readonly Example[], weights: readonly number[]) => ({
  image: stack(
    examples.map(({ image }) => image),
    [3, SIDE, SIDE],
  ),
  truth: stack(examples.map(oneHot), [SIDE, SIDE, CLASSES.length]),
  weight: stack(
    examples.map(({ classes }) => Float32Array.from(classes, (kind) => weights[kind]!)),
    [SIDE, SIDE, 1],
  ),
});

const examples: Example[] = [];
for (let seed = 0; seed < SCENES; seed++) {
  examples.push(await example(seed));
}
const weights = weightsOf(examples);

const state = startState(initialize(readerShapes(), 1), optimizer);
const graph = (rows: number) => ({ bytes: readerStep(rows), folder: "" });
await using stepper = await Stepper.open(graph, BATCH, state);
let sum = 0;
for (let step = 1; step <= STEPS; step++) {
  const start = ((step - 1) * BATCH) % SCENES;
  sum += await stepper.accumulate(batchOf(examples.slice(start, start + BATCH), weights));
  stepper.update(step, { ...optimizer, learning_rate: learningRate(step, schedule) });
  if (step % 50 === 0) {
    console.log(`${step}/${STEPS}, loss ${(sum / 50).toFixed(5)}`);
    sum = 0;
  }
}
writeSafetensors(READER, state.average!.tensors, "F16");
await demo.close();
