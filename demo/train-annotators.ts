/**
 * npm run demo:annotators: trains the network of demo/surfaces.ts, in some minutes, and writes the demo's annotators.
 * It begins where the reader of classes is, which knows the shapes already.
 */
import { join } from "node:path";
import { DEMO_MODELS_DIR } from "../src/config/config.ts";
import { stack } from "../src/diffusion/rows.ts";
import { sample } from "../src/image/hint.ts";
import { readCheckpoint } from "../src/models/checkpoint.ts";
import { initialize } from "../src/training/initialize.ts";
import { learningRate } from "../src/training/learning-rate.ts";
import { readParameters, writeSafetensors } from "../src/training/stored.ts";
import { Stepper, startState } from "../workers/train/step.ts";
import { writeAnnotators } from "./annotators.ts";
import { READER } from "./reader.ts";
import { CHANNELS, SURFACES, surfacesShapes, surfacesStep } from "./surfaces.ts";
import { SIDE } from "./world/landscape.ts";
import { surfaceMaps, visibleParts } from "./world/maps.ts";
import { render } from "./world/render.ts";
import { type Scene, scene } from "./world/scene.ts";

const [SCENES, STEPS, BATCH] = [1120, 140, 8];
const schedule = { learning_rate: 4e-3, lr_scheduler: "cosine", lr_warmup_steps: 30, max_train_steps: STEPS } as const;
const optimizer = { adam_weight_decay: 0.01, max_grad_norm: 1, ema_decay: 0.98 };
const AREA = SIDE * SIDE;
/** How much an error of nearness, 0 … 1, counts beside one of a normal's coordinate, -1 … 1. */
const NEARNESS_WEIGHT = 4;

interface Example {
  readonly image: Float32Array;
  readonly truth: Float32Array;
  readonly weight: Float32Array;
}

async function example(one: Scene): Promise<Example> {
  const shown = await visibleParts(one.parts);
  const truth = new Float32Array(CHANNELS * AREA);
  const [depth, normal] = [surfaceMaps.depth(one, shown), surfaceMaps.normal(one, shown)];
  for (let p = 0; p < AREA; p++) {
    truth[p] = depth.data[3 * p]! / 255;
    for (let c = 0; c < 3; c++) truth[(1 + c) * AREA + p] = normal.data[3 * p + c]! / 127.5 - 1;
  }
  const weight = truth.map((_, i) => (i < AREA ? NEARNESS_WEIGHT : 1));
  return { image: sample(await render(one)), truth, weight };
}

const all = Array.from({ length: SCENES }, (_, seed) => scene(seed));
/** What the reader of classes knows, but for its last layer. */
function begun() {
  const parameters = initialize(surfacesShapes(), 1);
  for (const [name, { data }] of readParameters(readCheckpoint(READER)).tensors) {
    if (!name.startsWith("out.")) parameters.tensors.get(name)!.data.set(data);
  }
  return parameters;
}

const state = startState(begun(), optimizer);
await using stepper = await Stepper.open((rows) => ({ bytes: surfacesStep(rows), folder: "" }), BATCH, state);
let sum = 0;
for (let step = 1; step <= STEPS; step++) {
  const start = ((step - 1) * BATCH) % SCENES;
  const batch = await Promise.all(all.slice(start, start + BATCH).map(example));
  const stacked = (of: keyof Example, channels: number) =>
    stack(
      batch.map((one) => one[of]),
      [channels, SIDE, SIDE],
    );
  sum += await stepper.accumulate({
    image: stacked("image", 3),
    truth: stacked("truth", CHANNELS),
    weight: stacked("weight", CHANNELS),
  });
  stepper.update(step, { ...optimizer, learning_rate: learningRate(step, schedule) });
  if (step % 20 === 0) {
    console.log(`${new Date().toISOString()} ${step}/${STEPS}, loss ${(sum / 20).toFixed(5)}`);
    sum = 0;
    writeSafetensors(SURFACES, state.average!.tensors, "F16");
  }
}
writeSafetensors(SURFACES, state.average!.tensors, "F16");
writeAnnotators(join(DEMO_MODELS_DIR, "annotators"));
