/** What jobs of all kinds have in common. */

import { z } from "zod";
import { JOB_CODES } from "./error-codes.ts";
import { instant } from "./fields.ts";

/** The kinds of jobs: src/jobs/kinds.ts says what each is. */
export const JOB_NAMES = ["generation", "training", "annotation"] as const;
export type JobName = (typeof JOB_NAMES)[number];

export const JobStatus = z
  .enum(["queued", "processing", "succeeded", "failed", "canceled"])
  .describe("Where it stands; the last three are ends.");
export type JobStatus = z.infer<typeof JobStatus>;

export const Progress = z.object({
  step: z
    .int()
    .min(0)
    .describe("Network evaluations done.")
    .meta({ examples: [7] }),
  total: z
    .int()
    .min(0)
    .describe("Network evaluations in all (Heun: 2n-1, PNDM: n+1).")
    .meta({ examples: [20] }),
});
export type Progress = z.infer<typeof Progress>;

/** The id and the type of a job of this kind. */
export const jobId = <K extends JobName>(prefix: string, kind: K) => ({
  id: z
    .string()
    .describe(`Its id, for /v1/${kind}s/{id}.`)
    .meta({ examples: [`${prefix}3f0a1b2c4d5e6f708192a3b4`] }),
  object: z.literal(kind).describe("The type of this object."),
});

/** Why a job failed. */
export const JobError = z
  .object({
    code: z
      .string()
      .describe("For programs: one word for the kind of error (docs/errors.md).")
      .meta({ enum: Object.keys(JOB_CODES), examples: ["timed_out"] }),
    message: z
      .string()
      .describe("For people: what went wrong.")
      .meta({ examples: ["took longer than 600 s"] }),
  })
  .nullable()
  .describe("Why it failed; null = it did not.");

/** When a job was accepted, began and ended. */
export const jobTimes = {
  created_at: instant.describe("When it was accepted."),
  started_at: instant
    .nullable()
    .describe("When a worker took it; null = not yet.")
    .meta({ examples: ["2026-01-31T12:00:01.000Z"] }),
  ended_at: instant
    .nullable()
    .describe("When it ended; null = not yet.")
    .meta({ examples: ["2026-01-31T12:00:09.000Z"] }),
};
