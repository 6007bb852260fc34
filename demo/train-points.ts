/**
 * npm run demo:points: trains the network of demo/points.ts, in some minutes, on scenes that the demo was trained on, each also
 * mirrored; one in four shows nobody. It goes on from demo/points.safetensors, or begins where the reader of classes is, which
 * knows the shapes already.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { wholeView } from "../src/annotators/vitpose.ts";
import { DEMO_MODELS_DIR } from "../src/config/config.ts";
import { stack } from "../src/diffusion/rows.ts";
import { sample } from "../src/image/hint.ts";
import type { Pixels } from "../src/image/pixels.ts";
import { readCheckpoint } from "../src/models/checkpoint.ts";
import { initialize } from "../src/training/initialize.ts";
import { learningRate } from "../src/training/learning-rate.ts";
import { readParameters, writeSafetensors } from "../src/training/stored.ts";
import { Stepper, startState } from "../workers/train/step.ts";
import { writeAnnotators } from "./annotators.ts";
import { COCO, HEAT, POINTS, pointsShapes, pointsStep, VIEW } from "./points.ts";
import { READER } from "./reader.ts";
import { SIDE } from "./world/landscape.ts";
import { render } from "./world/render.ts";
import { type Scene, scene } from "./world/scene.ts";
import type { Skeleton } from "./world/skeleton.ts";

const [SCENES, STEPS, BATCH] = [960, 500, 8];
const schedule = { learning_rate: 3e-3, lr_scheduler: "cosine", lr_warmup_steps: 30, max_train_steps: STEPS } as const;
const optimizer = { adam_weight_decay: 0.01, max_grad_norm: 1, ema_decay: 0.98 };
const NOBODY = 4;
/** How far a point's heat reaches, in cells, and how much more it counts than where there is none. */
const [SPREAD, POINT_WEIGHT] = [1.2, 5];

interface Example {
  readonly view: Pixels;
  readonly skeleton: Skeleton | undefined;
}

/** The first scenes with a person, and some without. */
function chooseScenes(): Scene[] {
  const chosen: Scene[] = [];
  for (let seed = 0; chosen.length < SCENES; seed++) {
    const one = scene(seed);
    const wants = chosen.length % NOBODY === 0 ? 0 : 1;
    if (one.skeletons.length === wants) chosen.push(one);
  }
  return chosen;
}

async function example(one: Scene): Promise<Example> {
  return { view: wholeView(await render(one), { width: VIEW, height: VIEW }), skeleton: one.skeletons[0] };
}

/** Left for right: the picture, and the person's own sides. */
function mirrored({ view, skeleton }: Example): Example {
  const { width, height } = view;
  const data = new Uint8Array(view.data.length);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const from = 3 * (y * width + width - 1 - x);
      data.set(view.data.subarray(from, from + 3), 3 * (y * width + x));
    }
  const other = (name: string) => name.replace(/left|right/, (side) => (side === "left" ? "right" : "left"));
  const turned = Object.entries(skeleton ?? {}).map(([name, [x, y]]) => [other(name), [SIDE - x, y]]);
  return { view: { width, height, data }, skeleton: skeleton && (Object.fromEntries(turned) as Skeleton) };
}

/** Where a heat map's cell is that bodyPoints takes for a place of the picture. */
const cellOf = (place: number) => ((place + (VIEW - SIDE) / 2) * (HEAT - 1)) / VIEW;

function heatOf({ skeleton }: Example): Float32Array {
  const heat = new Float32Array(COCO.length * HEAT * HEAT);
  if (skeleton === undefined) return heat;
  for (const [k, name] of COCO.entries()) {
    const [u, v] = skeleton[name].map(cellOf) as [number, number];
    for (let y = 0; y < HEAT; y++)
      for (let x = 0; x < HEAT; x++)
        heat[(k * HEAT + y) * HEAT + x] = Math.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * SPREAD ** 2));
  }
  return heat;
}

function batchOf(examples: readonly Example[]) {
  const heats = examples.map(heatOf);
  const weights = heats.map((heat) => heat.map((value) => 1 + POINT_WEIGHT * value));
  const images = examples.map(({ view }) => sample(view));
  return {
    image: stack(images, [3, VIEW, VIEW]),
    truth: stack(heats, [COCO.length, HEAT, HEAT]),
    weight: stack(weights, [COCO.length, HEAT, HEAT]),
  };
}

const examples: Example[] = [];
for (const one of chooseScenes()) examples.push(await example(one));
console.log(`${new Date().toISOString()} ${SCENES} scenes`);

/** What this network knows, or else the reader of classes, where the two are alike. */
function begun() {
  const parameters = initialize(pointsShapes(), 1);
  for (const [name, { data, dims }] of readParameters(readCheckpoint(existsSync(POINTS) ? POINTS : READER)).tensors) {
    const own = parameters.tensors.get(name);
    if (own?.dims.join() === dims.join()) own.data.set(data);
  }
  return parameters;
}

const state = startState(begun(), optimizer);
await using stepper = await Stepper.open((rows) => ({ bytes: pointsStep(rows), folder: "" }), BATCH, state);
let sum = 0;
for (let step = 1; step <= STEPS; step++) {
  const start = (step - 1) * BATCH;
  const own = Array.from({ length: BATCH }, (_, i) => examples[(start + i) % SCENES]!);
  // The second time around each picture is mirrored, the third time not, …
  sum += await stepper.accumulate(batchOf(Math.floor(start / SCENES) % 2 === 0 ? own : own.map(mirrored)));
  stepper.update(step, { ...optimizer, learning_rate: learningRate(step, schedule) });
  if (step % 25 === 0) {
    console.log(`${new Date().toISOString()} ${step}/${STEPS}, loss ${(sum / 25).toFixed(5)}`);
    sum = 0;
    writeSafetensors(POINTS, state.average!.tensors, "F16");
  }
}
writeSafetensors(POINTS, state.average!.tensors, "F16");
writeAnnotators(join(DEMO_MODELS_DIR, "annotators"));
