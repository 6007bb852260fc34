/** A training, as answers, events and webhooks show it. */

import { z } from "zod";
import { echoedMetadata, Id } from "./fields.ts";
import { JobError, JobStatus, jobId, jobTimes } from "./job.ts";
import { TrainingRequest } from "./training-request.ts";

/** A picture that the ControlNet in training made, as it is kept in the training's record. */
export const ValidationPicture = z.object({
  step: z
    .int()
    .min(1)
    .describe("How many steps the ControlNet had been trained for.")
    .meta({ examples: [500] }),
  index: z
    .int()
    .min(0)
    .describe("Which of the request's `validation`.")
    .meta({ examples: [0] }),
});
export type ValidationPicture = z.infer<typeof ValidationPicture>;

const ValidationPictureWithUrl = ValidationPicture.extend({
  url: z
    .url()
    .describe("Absolute address of the picture, a PNG.")
    .meta({ examples: ["http://127.0.0.1:8080/v1/trainings/trn_3f0a/validation/500/0"] }),
});

export const Training = z
  .object({
    ...jobId("trn_", "training"),
    status: JobStatus,
    progress: z
      .object({
        step: z
          .int()
          .min(0)
          .describe("Steps of the optimizer done.")
          .meta({ examples: [120] }),
        total: z
          .int()
          .min(0)
          .describe("max_train_steps.")
          .meta({ examples: [1000] }),
      })
      .describe("How far it is."),
    loss: z
      .number()
      .nullable()
      .describe("Mean squared error of the noise in the latest step; null = none yet.")
      .meta({ examples: [0.12] }),
    memory_bytes: z
      .int()
      .nullable()
      .describe("Memory that it needs, estimated before its first step; null = not known yet.")
      .meta({ examples: [7_516_192_768] }),
    request: TrainingRequest,
    validation: z.array(ValidationPictureWithUrl).describe("The latest pictures."),
    loss_csv: z
      .url()
      .describe("Address of the loss, learning rate and gradient norm of every step, as of when it was last saved.")
      .meta({ examples: ["http://127.0.0.1:8080/v1/trainings/trn_3f0a/loss.csv"] }),
    loss_png: z
      .url()
      .describe("Address of the same as a curve.")
      .meta({ examples: ["http://127.0.0.1:8080/v1/trainings/trn_3f0a/loss.png"] }),
    controlnet: Id.nullable()
      .describe("The ControlNet's id, when it is offered; null = not yet.")
      .meta({ examples: ["my-edges"] }),
    warnings: z.array(z.string()).describe("Why it makes no progress, when it makes none."),
    error: JobError,
    ...jobTimes,
    metadata: echoedMetadata,
  })
  .meta({ id: "Training" });
export type Training = z.infer<typeof Training>;

/** What a progress event of a training tells. */
export const TrainingProgressEvent = Training.shape.progress
  .extend({
    loss: z
      .number()
      .describe("Mean squared error of the noise in this step.")
      .meta({ examples: [0.12] }),
    learning_rate: z
      .number()
      .describe("Of this step.")
      .meta({ examples: [0.00001] }),
    validation: z.array(ValidationPictureWithUrl).describe("The pictures that were made at this step."),
  })
  .meta({ id: "TrainingProgressEvent" });
/** As it is kept, without addresses. */
export type TrainingProgressEvent = Omit<z.infer<typeof TrainingProgressEvent>, "validation"> & {
  validation: ValidationPicture[];
};
