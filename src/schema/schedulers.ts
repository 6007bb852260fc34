/** The schedulers that a request can name, and what is public of each. */

import { z } from "zod";

export const SCHEDULERS = [
  "ddim",
  "ddpm",
  "pndm",
  "euler",
  "euler_karras",
  "euler_ancestral",
  "heun",
  "dpmpp_2m",
  "dpmpp_2m_karras",
  "dpmpp_2m_sde_karras",
  "unipc",
  "lcm",
] as const;
export const SchedulerName = z.enum(SCHEDULERS);
export type SchedulerName = z.infer<typeof SchedulerName>;

/**
 * How many evaluations of the networks a scheduler makes of n inference steps: the unit of progress.
 * PNDM repeats its second timestep; Heun is second order but for its last step.
 */
export const EVALUATIONS = {
  ddim: (n) => n,
  ddpm: (n) => n,
  pndm: (n) => n + 1,
  euler: (n) => n,
  euler_karras: (n) => n,
  euler_ancestral: (n) => n,
  heun: (n) => 2 * n - 1,
  dpmpp_2m: (n) => n,
  dpmpp_2m_karras: (n) => n,
  dpmpp_2m_sde_karras: (n) => n,
  unipc: (n) => n,
  lcm: (n) => n,
} satisfies Record<SchedulerName, (n: number) => number>;

export const Scheduler = z
  .object({
    id: SchedulerName,
    object: z.literal("scheduler"),
    description: z.string(),
    stochastic: z.boolean().describe("Draws fresh noise at every step."),
    evaluations: z.enum(["n", "n+1", "2n-1"]).describe("Network evaluations for n = num_inference_steps."),
  })
  .meta({ id: "Scheduler" });
export type Scheduler = z.infer<typeof Scheduler>;
