/** How the demo checkpoint is trained: what, on how much, for how long. */
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { TrainingSettings } from "../src/schema/training-request.ts";
import { SIDE } from "./world/landscape.ts";
import type { Condition } from "./world/maps.ts";

/** Where datasets, states and the trained networks are kept: gigabytes, and nothing of the repository. */
export const DEMO_TRAIN_DIR = resolve(process.env.DEMO_TRAIN_DIR ?? join(homedir(), ".cache/controlnet-service-demo"));

export interface Plan {
  /** Scenes that are trained on. */
  readonly scenes: number;
  /** Of them, those that the directions of the latents are found by. */
  readonly evenedBy: number;
  readonly vae: TrainingSettings;
  readonly base: TrainingSettings;
  readonly controlnets: readonly (readonly [Condition, TrainingSettings])[];
}

const shared = { lr_scheduler: "cosine", lr_warmup_steps: 100, checkpointing_steps: 100, seed: 1 } as const;

/** Squares of 64 pixels cost a quarter of a whole picture and teach as much. */
const vae = TrainingSettings.parse({
  ...shared,
  max_train_steps: 8000,
  learning_rate: 1e-3,
  train_batch_size: 8,
  resolution: SIDE / 2,
  random_flip: true,
  ema_decay: 0.995,
});

const base = TrainingSettings.parse({
  ...shared,
  max_train_steps: 12500,
  learning_rate: 1e-3,
  train_batch_size: 32,
  resolution: SIDE,
  proportion_empty_prompts: 0.1,
  ema_decay: 0.999,
});

const controlnet = (max_train_steps: number) =>
  TrainingSettings.parse({
    ...shared,
    max_train_steps,
    learning_rate: 1e-3,
    train_batch_size: 16,
    resolution: SIDE,
    proportion_empty_prompts: 0.5,
    ema_decay: 0.99,
  });

/** In this order: the first two already show what control is. */
const controlnets: Plan["controlnets"] = [
  ["canny", controlnet(4900)],
  ["segmentation", controlnet(7600)],
  ["pose", controlnet(5300)],
  ["scribble", controlnet(6200)],
  ["depth", controlnet(8500)],
  ["lineart", controlnet(1300)],
  ["hough_lines", controlnet(1400)],
  ["normal", controlnet(1400)],
];

export const PLAN: Plan = { scenes: 8000, evenedBy: 300, vae, base, controlnets };
