/** A generation, as answers, events and webhooks show it. */

import { z } from "zod";
import { echoedMetadata } from "./fields.ts";
import { CONTENT_TYPES, GenerationRequest } from "./generation-request.ts";
import { JobError, JobStatus, jobId, jobTimes, Progress } from "./job.ts";
import { PoseJson } from "./pose.ts";
import { Precision } from "./speed.ts";

/** What a progress event tells. */
export const ProgressEvent = Progress.extend({
  preview: z
    .string()
    .optional()
    .describe("The picture as it is by now: a data: URI of a JPEG, when the request asks for it.")
    .meta({ examples: ["data:image/jpeg;base64,/9j/4AAQ"] }),
}).meta({ id: "GenerationProgressEvent" });
export type ProgressEvent = z.infer<typeof ProgressEvent>;

/** A picture that was made, as it is kept in the generation's record. */
export const ImageRecord = z.object({
  seed: z
    .int()
    .min(0)
    .describe("Makes this picture alone when it is sent with num_images 1.")
    .meta({ examples: [42] }),
  width: z
    .int()
    .describe("Pixels.")
    .meta({ examples: [512] }),
  height: z
    .int()
    .describe("Pixels.")
    .meta({ examples: [512] }),
  content_type: z.enum(Object.values(CONTENT_TYPES)).describe("Media type of its file."),
  precision: Precision.describe("What the U-Net and the ControlNets were computed in: float32 is exact."),
  sha256: z
    .string()
    .describe("Of its file, in hexadecimal.")
    .meta({ examples: ["0f".repeat(32)] }),
  flagged: z
    .boolean()
    .nullable()
    .describe("Whether the model's safety checker finds it unfit to be shown; null = it was not asked.")
    .meta({ examples: [false] }),
});
export type ImageRecord = z.infer<typeof ImageRecord>;

/** A control image that an annotator made, as it is kept in the generation's record. */
export const ControlMapRecord = ImageRecord.omit({ seed: true, precision: true, flagged: true }).extend({
  control: z
    .int()
    .min(0)
    .describe("Which of the request's controls it is for.")
    .meta({ examples: [0] }),
  picture: z
    .int()
    .min(0)
    .nullable()
    .describe("Which picture it is for; null = for all.")
    .meta({ examples: [0] }),
  pose: PoseJson.nullable().describe("Key points of the people that were found; null = nobody was looked for."),
});
export type ControlMapRecord = z.infer<typeof ControlMapRecord>;

export const milliseconds = z
  .number()
  .min(0)
  .nullable()
  .meta({ examples: [1250] });
export const Metrics = z.object({
  queue_ms: milliseconds.describe("From accepted to started."),
  load_ms: milliseconds.describe("Loading networks; 0 when they were loaded already."),
  annotate_ms: milliseconds.describe("Control images made by annotators; 0 when none is."),
  encode_ms: milliseconds.describe("Prompt and hints."),
  denoise_ms: milliseconds.describe("All evaluations of the networks; of one that was taken up anew, those since."),
  decode_ms: milliseconds.describe("Latents to encoded pictures."),
  steps_per_second: z
    .number()
    .min(0)
    .nullable()
    .describe("Network evaluations a second while denoising.")
    .meta({ examples: [1.6] }),
});
export type Metrics = z.infer<typeof Metrics>;

export const Generation = z
  .object({
    ...jobId("gen_", "generation"),
    status: JobStatus,
    progress: Progress.describe("How far it is."),
    request: GenerationRequest,
    images: z
      .array(
        ImageRecord.extend({
          url: z
            .url()
            .describe("Absolute address of the picture.")
            .meta({ examples: ["http://127.0.0.1:8080/v1/generations/gen_3f0a/images/0"] }),
          base64: z
            .string()
            .optional()
            .describe('The file itself in base64, where the request says `"response": "base64"`.')
            .meta({ examples: ["iVBORw0KGgo="] }),
        }),
      )
      .describe("The pictures: none until it has succeeded."),
    controls: z
      .array(
        ControlMapRecord.extend({
          url: z
            .url()
            .describe("Absolute address of the map, a PNG.")
            .meta({ examples: ["http://127.0.0.1:8080/v1/generations/gen_3f0a/controls/0"] }),
        }),
      )
      .describe("The control images that annotators made: none until it has succeeded."),
    warnings: z.array(z.string()).describe("What the client may want to change; the picture was made all the same."),
    error: JobError,
    metrics: Metrics.describe("What is not known yet is null."),
    ...jobTimes,
    metadata: echoedMetadata,
  })
  .meta({ id: "Generation" });
export type Generation = z.infer<typeof Generation>;
