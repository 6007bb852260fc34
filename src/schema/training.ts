/** A training, as answers, events and webhooks show it. */

import { z } from "zod";
import { Id, instant } from "./fields.ts";
import { JobStatus, type Progress } from "./job.ts";
import { TrainingRequest } from "./training-request.ts";

/** A picture that the ControlNet in training made, as it is kept in the training's record. */
export const ValidationPicture = z.object({
  step: z.int().min(1).describe("How many steps the ControlNet had been trained for."),
  index: z.int().min(0).describe("Which of the request's `validation`."),
});
export type ValidationPicture = z.infer<typeof ValidationPicture>;

const ValidationPictureWithUrl = ValidationPicture.extend({ url: z.url().describe("Absolute; a PNG.") });

export const Training = z
  .object({
    id: z.string(),
    object: z.literal("training"),
    status: JobStatus,
    progress: z.object({
      step: z.int().min(0).describe("Steps of the optimiser done."),
      total: z.int().min(0).describe("max_train_steps."),
    }),
    loss: z.number().nullable().describe("Of the latest step."),
    request: TrainingRequest,
    validation: z.array(ValidationPictureWithUrl).describe("The latest pictures."),
    loss_csv: z.url().describe("Loss, learning rate and gradient norm of every step, as of when it was last saved."),
    loss_png: z.url().describe("The same as a curve."),
    controlnet: Id.nullable().describe("The ControlNet's id, when it is offered."),
    warnings: z.array(z.string()).describe("Why it does not get on, when it does not."),
    error: z.object({ code: z.string(), message: z.string() }).nullable().describe("Why it failed."),
    created_at: instant,
    started_at: instant.nullable(),
    ended_at: instant.nullable(),
    metadata: z.record(z.string(), z.unknown()),
  })
  .meta({ id: "Training" });
export type Training = z.infer<typeof Training>;

/** What a progress event of a training tells. */
export interface TrainingProgressEvent extends Progress {
  loss: number;
  learning_rate: number;
  /** Made at this step. */
  validation: ValidationPicture[];
}
