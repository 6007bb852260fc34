/** What generations and trainings have in common. */

import { z } from "zod";

export const GenerationStatus = z.enum(["queued", "processing", "succeeded", "failed", "canceled"]);
export type GenerationStatus = z.infer<typeof GenerationStatus>;

export const Progress = z.object({
  step: z.int().min(0).describe("Network evaluations done."),
  total: z.int().min(0).describe("Network evaluations in all (Heun: 2n-1, PNDM: n+1)."),
});
export type Progress = z.infer<typeof Progress>;
