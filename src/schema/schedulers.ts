/**
 * What is public of each scheduler, a row each. What it computes is in src/diffusion/scheduler-table.ts, a row of the same
 * name, which the compiler asks for. The gateway knows this file alone.
 */
import { z } from "zod";

export const PREDICTION_TYPES = ["epsilon", "v_prediction", "sample"] as const;
export const PredictionType = z.enum(PREDICTION_TYPES).describe("What the U-Net predicts.");
export type PredictionType = z.infer<typeof PredictionType>;

/** Network evaluations for n = num_inference_steps: one each; the second timestep again; two each but for the last. */
const EVALUATIONS = {
  n: (n: number) => n,
  "n+1": (n: number) => n + 1,
  "2n-1": (n: number) => 2 * n - 1,
} as const;

/** Fields of a request that only some schedulers have a use for. */
export const SCHEDULER_FIELDS = ["timestep_spacing", "rescale_betas_zero_snr", "eta"] as const;
export type SchedulerField = (typeof SCHEDULER_FIELDS)[number];

export interface SchedulerFacts {
  readonly description: string;
  /** Whether it draws fresh noise while it runs; one that takes `eta` does where that is more than 0. */
  readonly stochastic: boolean;
  readonly evaluations: keyof typeof EVALUATIONS;
  /** The betas of training, or EDM's continuous noise levels: a model is trained for one of them. */
  readonly noise: "betas" | "edm";
  /** What the model may predict. */
  readonly prediction_types: readonly PredictionType[];
  readonly fields: readonly SchedulerField[];
  /** It divides by the signal, of which rescale_betas_zero_snr leaves none at the first timestep. */
  readonly divides_by_signal?: true;
}

const ANY = PREDICTION_TYPES;
const NO_SAMPLE = ["epsilon", "v_prediction"] as const;
const SPACED = ["timestep_spacing"] as const;
const RESCALED = ["timestep_spacing", "rescale_betas_zero_snr"] as const;
const WITH_ETA = ["timestep_spacing", "rescale_betas_zero_snr", "eta"] as const;

const ONE = { stochastic: false, evaluations: "n", noise: "betas", prediction_types: ANY } as const;
const NOISY = { ...ONE, stochastic: true } as const;
const TWO = { ...ONE, evaluations: "2n-1" } as const;
const EDM = { ...ONE, noise: "edm", prediction_types: NO_SAMPLE, fields: [] } as const;

const FACTS = {
  ddim: { ...ONE, description: "DDIM (arXiv 2010.02502)", fields: WITH_ETA, divides_by_signal: true },
  ddpm: {
    ...NOISY,
    description: "DDPM, ancestral sampling (arXiv 2006.11239)",
    fields: RESCALED,
    divides_by_signal: true,
  },
  pndm: {
    ...ONE,
    description: "PNDM without Runge-Kutta steps (arXiv 2202.09778)",
    evaluations: "n+1",
    prediction_types: NO_SAMPLE,
    fields: SPACED,
  },
  euler: { ...ONE, description: "Euler's method on sigmas (arXiv 2206.00364)", fields: RESCALED },
  euler_karras: { ...ONE, description: "Euler with Karras' sigmas", fields: RESCALED },
  euler_exponential: { ...ONE, description: "Euler with sigmas evenly spaced in the logarithm", fields: RESCALED },
  euler_beta: { ...ONE, description: "Euler with sigmas of a beta distribution (arXiv 2407.12173)", fields: RESCALED },
  euler_ancestral: {
    ...NOISY,
    description: "Euler with ancestral noise",
    prediction_types: NO_SAMPLE,
    fields: RESCALED,
  },
  heun: { ...TWO, description: "Heun's second-order method (arXiv 2206.00364)", fields: SPACED },
  lms: { ...ONE, description: "Linear multistep of order 4 on sigmas", fields: SPACED },
  lms_karras: { ...ONE, description: "Linear multistep with Karras' sigmas", fields: SPACED },
  deis: { ...ONE, description: "DEIS, multistep in log rho (arXiv 2204.13902)", fields: SPACED },
  dpm2: {
    ...TWO,
    description: "DPM-Solver-2 as in k-diffusion (arXiv 2206.00927)",
    prediction_types: NO_SAMPLE,
    fields: SPACED,
  },
  dpm2_ancestral: {
    ...TWO,
    description: "DPM-Solver-2 with ancestral noise",
    stochastic: true,
    prediction_types: NO_SAMPLE,
    fields: SPACED,
  },
  dpmpp_2s: { ...ONE, description: "DPM-Solver++(2S), singlestep (arXiv 2211.01095)", fields: [] },
  dpmpp_2s_ancestral: {
    ...TWO,
    description: "DPM-Solver++(2S) with ancestral noise, as in k-diffusion",
    stochastic: true,
    fields: RESCALED,
  },
  dpmpp_sde: { ...TWO, description: "SDE-DPM-Solver++, as in k-diffusion", stochastic: true, fields: RESCALED },
  dpmpp_sde_karras: {
    ...TWO,
    description: "SDE-DPM-Solver++ with Karras' sigmas, as in k-diffusion",
    stochastic: true,
    fields: RESCALED,
  },
  dpmpp_2m: { ...ONE, description: "DPM-Solver++(2M) (arXiv 2211.01095)", fields: RESCALED },
  dpmpp_2m_karras: { ...ONE, description: "DPM-Solver++(2M) with Karras' sigmas", fields: RESCALED },
  dpmpp_2m_sde: { ...NOISY, description: "SDE-DPM-Solver++(2M)", fields: RESCALED },
  dpmpp_2m_sde_karras: { ...NOISY, description: "SDE-DPM-Solver++(2M) with Karras' sigmas", fields: RESCALED },
  dpmpp_3m: { ...ONE, description: "DPM-Solver++(3M)", fields: RESCALED },
  unipc: { ...ONE, description: "UniPC (arXiv 2302.04867)", fields: RESCALED },
  sa_solver: {
    ...NOISY,
    description: "SA-Solver, stochastic Adams predictor and corrector (arXiv 2309.05019)",
    fields: SPACED,
  },
  lcm: {
    ...NOISY,
    description: "Latent consistency, for models distilled for it (arXiv 2310.04378)",
    fields: RESCALED,
    divides_by_signal: true,
  },
  tcd: {
    ...ONE,
    description: "Trajectory consistency, for models distilled for it; eta is its gamma (arXiv 2402.19159)",
    fields: WITH_ETA,
    divides_by_signal: true,
  },
  edm_euler: { ...EDM, description: "Euler's method for EDM models (arXiv 2206.00364)" },
  edm_dpmpp_2m: { ...EDM, description: "DPM-Solver++(2M) for EDM models" },
} as const satisfies Record<string, SchedulerFacts>;

export type SchedulerName = keyof typeof FACTS;
export const SCHEDULER_FACTS: Readonly<Record<SchedulerName, SchedulerFacts>> = FACTS;
export const SCHEDULERS = Object.keys(FACTS) as [SchedulerName, ...SchedulerName[]];

/** Network evaluations of a scheduler for n inference steps: the unit of progress. */
export const evaluationsOf = (name: SchedulerName, n: number): number =>
  EVALUATIONS[SCHEDULER_FACTS[name].evaluations](n);

export const Scheduler = z
  .object({
    id: z.enum(SCHEDULERS).describe("Its name, as `scheduler` in a request."),
    object: z.literal("scheduler").describe("The type of this object."),
    description: z
      .string()
      .describe("Which method it is.")
      .meta({ examples: ["Euler's method on sigmas (arXiv 2206.00364)"] }),
    stochastic: z.boolean().describe("Draws fresh noise while it runs; one that takes `eta` does for more than 0."),
    evaluations: z
      .enum(Object.keys(EVALUATIONS) as (keyof typeof EVALUATIONS)[])
      .describe("Network evaluations for n = num_inference_steps."),
    prediction_types: z.array(PredictionType).describe("What a model may predict."),
    fields: z.array(z.enum(SCHEDULER_FIELDS)).describe("Fields of a request that only some schedulers take: its own."),
  })
  .meta({ id: "Scheduler" });
export type Scheduler = z.infer<typeof Scheduler>;
