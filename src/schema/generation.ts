/** A generation, as answers, events and webhooks show it. */

import { z } from "zod";
import { instant } from "./fields.ts";
import { CONTENT_TYPES, GenerationRequest } from "./generation-request.ts";
import { JobStatus, Progress } from "./job.ts";

/** What a progress event tells. */
export interface ProgressEvent extends Progress {
  /** A data: URI, when the request asks for it. */
  preview?: string;
}

/** A picture that was made, as it is kept in the generation's record. */
export const ImageRecord = z.object({
  seed: z.number().min(0),
  width: z.int(),
  height: z.int(),
  content_type: z.enum(Object.values(CONTENT_TYPES)),
  sha256: z.string(),
});
export type ImageRecord = z.infer<typeof ImageRecord>;

const milliseconds = z.number().min(0).nullable();
export const Metrics = z.object({
  queue_ms: milliseconds.describe("From accepted to started."),
  load_ms: milliseconds.describe("Loading networks; 0 when they were loaded already."),
  encode_ms: milliseconds.describe("Prompt and hints."),
  denoise_ms: milliseconds,
  decode_ms: milliseconds.describe("Latents to encoded pictures."),
  steps_per_second: z.number().min(0).nullable().describe("Network evaluations a second while denoising."),
});
export type Metrics = z.infer<typeof Metrics>;

export const Generation = z
  .object({
    id: z.string(),
    object: z.literal("generation"),
    status: JobStatus,
    progress: Progress,
    request: GenerationRequest,
    images: z.array(ImageRecord.extend({ url: z.url().describe("Absolute.") })),
    warnings: z.array(z.string()),
    error: z.object({ code: z.string(), message: z.string() }).nullable().describe("Why it failed."),
    metrics: Metrics.describe("What is not known yet is null."),
    created_at: instant,
    started_at: instant.nullable(),
    ended_at: instant.nullable(),
    metadata: z.record(z.string(), z.unknown()),
  })
  .meta({ id: "Generation" });
export type Generation = z.infer<typeof Generation>;
