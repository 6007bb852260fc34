/** What `POST /v1/trainings` takes, and the request as it is carried out. */

import { z } from "zod";
import { closed } from "./closed.ts";
import { meantInTraining } from "./field-names.ts";
import { Id, MAX_PROMPT, metadata, Side, seed } from "./fields.ts";
import { KEPT, SENT } from "./images.ts";
import { Webhook } from "./webhook.ts";

const trainingShape = {
  max_train_steps: z
    .int()
    .min(1)
    .max(10_000_000)
    .describe("Steps of the optimizer.")
    .meta({ examples: [1000] }),
  learning_rate: z
    .number()
    .positive()
    .max(1)
    .default(1e-5)
    .describe("Of AdamW, after the warm-up.")
    .meta({ examples: [1e-5] }),
  lr_scheduler: z
    .enum(["constant", "cosine"])
    .default("constant")
    .describe("What becomes of the learning rate after the warm-up."),
  lr_warmup_steps: z
    .int()
    .min(0)
    .default(0)
    .describe("Steps over which the learning rate rises from 0.")
    .meta({ examples: [100] }),
  train_batch_size: z
    .int()
    .min(1)
    .max(256)
    .default(4)
    .describe("Pairs in a batch.")
    .meta({ examples: [4] }),
  gradient_accumulation_steps: z
    .int()
    .min(1)
    .max(1024)
    .default(1)
    .describe("Batches whose gradients make one step.")
    .meta({ examples: [1] }),
  resolution: Side.default(512)
    .describe("Pixels: pictures and hints are scaled to cover this square, the middle kept.")
    .meta({ examples: [512] }),
  proportion_empty_prompts: z
    .number()
    .min(0)
    .max(1)
    .default(0.5)
    .describe("Share of pairs shown without their prompt.")
    .meta({ examples: [0.5] }),
  random_flip: z.boolean().default(false).describe("Whether half of the pairs are mirrored."),
  adam_weight_decay: z
    .number()
    .min(0)
    .max(1)
    .default(0.01)
    .describe("Of AdamW.")
    .meta({ examples: [0.01] }),
  max_grad_norm: z
    .number()
    .positive()
    .default(1)
    .describe("The norm that gradients are cut down to.")
    .meta({ examples: [1] }),
  ema_decay: z
    .number()
    .min(0)
    .lt(1)
    .default(0)
    .describe("Decay of the averaged weights that are kept; 0 = the last weights.")
    .meta({ examples: [0.999] }),
  checkpointing_steps: z
    .int()
    .min(1)
    .default(500)
    .describe("Steps between saves: a killed training goes on from the last one.")
    .meta({ examples: [500] }),
};

/** How a network is trained: what a command line says beside its folders. Names and defaults: diffusers' train_controlnet.py. */
export const TrainingSettings = closed({ ...trainingShape, seed: seed.default(0) });
export type TrainingSettings = z.infer<typeof TrainingSettings>;

/** Which field of a training asks for batches of more than `most` pixels, and what is allowed; null = none. */
export function tooManyPixels(
  { resolution, train_batch_size }: Pick<TrainingSettings, "resolution" | "train_batch_size">,
  most: number,
): { path: "resolution" | "train_batch_size"; message: string } | null {
  const pixels = resolution ** 2;
  const allowed = `at most ${most} are allowed (MAX_PIXELS)`;
  if (pixels > most) {
    return { path: "resolution", message: `${resolution}×${resolution} is ${pixels} pixels: ${allowed}` };
  }
  if (train_batch_size * pixels > most) {
    const batch = `a batch of ${train_batch_size} × ${resolution}×${resolution} is ${train_batch_size * pixels} pixels`;
    const instead = `${Math.floor(most / pixels)} of these; gradient_accumulation_steps makes a step of more batches`;
    return { path: "train_batch_size", message: `${batch}: ${allowed}, ${instead}` };
  }
  return null;
}

/** Id of a ControlNet that a training makes: the name of its folder. */
const ControlNetName = z
  .string()
  .regex(/^[a-zA-Z0-9][\w-]{0,99}$/, "must be 1 to 100 letters, digits, _ or -, a letter or digit first")
  .describe("What the ControlNet is called when it is offered: its id. No other may have it.")
  .meta({ examples: ["my-edges"] });

/** The most prompts and hints that a training is watched by. */
const MAX_VALIDATION = 8;

const trainingJobShape = {
  base: Id.describe("Id of the base model, from GET /v1/models: one that is `trainable`.").meta({ examples: ["sd15"] }),
  name: ControlNetName,
  dataset: z
    .string()
    .regex(
      /^(upload:\w{1,100}|folder:[^/\\]{1,200})$/,
      'must be "upload:" and the id of an archive, or "folder:" and a name',
    )
    .describe(
      "`upload:` and the id of an archive (POST /v1/uploads), or `folder:` and the name of a folder in the installation's DATASETS_DIR. It holds `prompt.json` (a line a pair: source, target, prompt, as in the original ControlNet's tutorial), or `metadata.jsonl` (file_name, conditioning_image, text), and the pictures that these name.",
    )
    .meta({ examples: ["upload:up_3f0a1b2c4d5e6f708192a3b4"] }),
  ...trainingShape,
  seed: seed.default(0),
  webhook: Webhook.nullable().default(null).describe("Who is told how it goes; null = nobody."),
  metadata,
};

/** What one field alone cannot tell. */
function checkWarmup(ctx: z.core.ParsePayload<{ lr_warmup_steps: number; max_train_steps: number }>) {
  if (ctx.value.lr_warmup_steps > ctx.value.max_train_steps) {
    const message = "must be at most max_train_steps";
    ctx.issues.push({ code: "custom", input: ctx.value, path: ["lr_warmup_steps"], message });
  }
}

const validation = <T extends z.ZodType>(image: T) =>
  z
    .array(
      closed({
        prompt: z
          .string()
          .max(MAX_PROMPT)
          .describe("What the picture shows.")
          .meta({ examples: ["a house"] }),
        image: image.describe("The control image."),
      }),
    )
    .max(MAX_VALIDATION)
    .default([])
    .describe("Prompts and control images with which pictures are made whenever the training is saved.");

/** The body of `POST /v1/trainings`. */
export const TrainingInput = closed({ ...trainingJobShape, validation: validation(SENT.one) }, meantInTraining(""))
  .check(checkWarmup)
  .meta({
    id: "CreateTraining",
    description:
      "What to train: a ControlNet for a base, as its paper does (arXiv 2302.05543). Names and defaults are those of diffusers' train_controlnet.py. An image is as in the request of a generation.",
  });
export type TrainingInput = z.infer<typeof TrainingInput>;

/** A training's request as it is carried out. What the worker gets and the API echoes. */
export const TrainingRequest = closed({ ...trainingJobShape, validation: validation(KEPT.one) }).meta({
  id: "TrainingRequest",
  description: "The request as carried out: every default filled in, images by hash.",
});
export type TrainingRequest = z.infer<typeof TrainingRequest>;
