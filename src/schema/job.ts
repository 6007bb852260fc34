/** What generations and trainings have in common. */

import { z } from "zod";

/** The kinds of jobs: src/jobs/kinds.ts says what each is. */
export const JOB_NAMES = ["generation", "training"] as const;
export type JobName = (typeof JOB_NAMES)[number];

export const JobStatus = z.enum(["queued", "processing", "succeeded", "failed", "canceled"]);
export type JobStatus = z.infer<typeof JobStatus>;

export const Progress = z.object({
  step: z.int().min(0).describe("Network evaluations done."),
  total: z.int().min(0).describe("Network evaluations in all (Heun: 2n-1, PNDM: n+1)."),
});
export type Progress = z.infer<typeof Progress>;
