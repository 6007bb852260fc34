/** An annotation, as answers, events and webhooks show it. */
import { z } from "zod";
import { AnnotationRequest } from "./annotation-request.ts";
import { echoedMetadata } from "./fields.ts";
import { ImageRecord, milliseconds } from "./generation.ts";
import { JobError, JobStatus, jobId, jobTimes } from "./job.ts";
import { PoseJson } from "./pose.ts";

/** A map, as it is kept in a record. */
export const MapRecord = ImageRecord.omit({ seed: true, precision: true, flagged: true });
export type MapRecord = z.infer<typeof MapRecord>;

export const AnnotationMetrics = z.object({
  queue_ms: milliseconds.describe("From accepted to started."),
  load_ms: milliseconds.describe("Loading networks; 0 when none is needed or they were loaded already."),
  annotate_ms: milliseconds.describe("From the picture's file to the map's."),
});
export type AnnotationMetrics = z.infer<typeof AnnotationMetrics>;

export const Annotation = z
  .object({
    ...jobId("ann_", "annotation"),
    status: JobStatus,
    progress: z
      .object({
        step: z
          .int()
          .min(0)
          .describe("Maps made.")
          .meta({ examples: [1] }),
        total: z
          .int()
          .min(0)
          .describe("Maps in all: one.")
          .meta({ examples: [1] }),
      })
      .describe("How far it is."),
    request: AnnotationRequest,
    images: z
      .array(
        MapRecord.extend({
          url: z
            .url()
            .describe("Absolute address of the map, a PNG.")
            .meta({ examples: ["http://127.0.0.1:8080/v1/annotations/ann_3f0a/images/0"] }),
        }),
      )
      .describe("The map: none until it has succeeded."),
    pose: PoseJson.nullable().describe("Key points of the people that were found; null = nobody was looked for."),
    warnings: z.array(z.string()).describe("What the client may want to change; the map was made all the same."),
    error: JobError,
    metrics: AnnotationMetrics.describe("What is not known yet is null."),
    ...jobTimes,
    metadata: echoedMetadata,
  })
  .meta({ id: "Annotation" });
export type Annotation = z.infer<typeof Annotation>;

/** What a progress event of an annotation tells. */
export const AnnotationProgressEvent = Annotation.shape.progress.extend({}).meta({ id: "AnnotationProgressEvent" });
