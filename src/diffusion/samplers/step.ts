/** What every sampler's step is written in: the state of one picture, its noise schedule, sums of arrays. */
import type { SchedulerClass, SchedulerConfig } from "../scheduler-config.ts";

/** One picture between two network evaluations. Arrays all have the latents' length; none is ever written to again. */
export interface SamplerState {
  /** network evaluations done */
  step: number;
  /** what the next evaluation starts from, [C·h·w] */
  latents: Float32Array;
  /** what a multistep method keeps of earlier evaluations, oldest first */
  history: Float32Array[];
  /** the latents that an unfinished step started from */
  base: Float32Array | null;
}

/** This many steps, or this strength, cannot be run by this scheduler. */
export class StepCountError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "StepCountError";
  }
}

/** latents = alpha · x₀ + sigma · noise; the network is shown latents / norm. */
export interface NoiseLevel {
  alpha: number;
  sigma: number;
  norm: number;
}

/** A run's noise schedule, one entry an evaluation; `sigmas`, and the levels of solvers, have the final one too. */
export interface Schedule {
  timesteps: number[];
  levels: NoiseLevel[];
  /** Where an image is noised to another level than the evaluation's: an intermediate one. */
  noised?: NoiseLevel[];
  initNoiseSigma: number;
  /** ᾱ of every training timestep */
  alphas: number[];
  sigmas: number[];
  /** What model outputs stand for, where not as in X0. */
  x0?: typeof X0;
}

/** Everything a step may look at. `i`: index of this evaluation in the whole schedule. */
export interface Step extends SamplerState {
  config: SchedulerConfig;
  schedule: Schedule;
  numInferenceSteps: number;
  /** The request's: how much of the noise of a step is fresh, 0 … 1. */
  eta: number;
  i: number;
  output: Float32Array;
  draw: () => Float32Array;
}

export type Next = Pick<SamplerState, "latents"> & Partial<SamplerState>;

export interface Algorithm {
  /** The class of diffusers that it is, or whose noise schedule it runs over. */
  scheduler: SchedulerClass;
  /** entries of the schedule per inference step, where image-to-image skips steps (diffusers' `order`) */
  order: 1 | 2;
  schedule(config: SchedulerConfig, numInferenceSteps: number): Schedule;
  next(step: Step): Next;
}

export type Term = readonly [coefficient: number, array: Float32Array];

/** Σ coefficient · array, summed in double, rounded once. */
export function sum(...terms: Term[]): Float32Array {
  const total = new Float64Array(terms[0]![1].length);
  for (const [coefficient, array] of terms) {
    for (let k = 0; k < total.length; k++) total[k]! += coefficient * array[k]!;
  }
  return Float32Array.from(total);
}

const clamp = (values: Float32Array, range: number) => values.map((value) => Math.min(Math.max(value, -range), range));

/** Dynamic thresholding (Saharia et al. 2022, arXiv:2205.11487): within a quantile of its sizes, and that is 1. */
function threshold({ dynamic_thresholding_ratio: ratio, sample_max_value: most }: SchedulerConfig, x0: Float32Array) {
  const sizes = x0.map(Math.abs).sort();
  const rank = ratio * (sizes.length - 1);
  const [low, high] = [sizes[Math.floor(rank)]!, sizes[Math.ceil(rank)]!];
  const range = Math.min(Math.max(low + (rank % 1) * (high - low), 1), most);
  return clamp(x0, range).map((value) => value / range);
}

function bound(config: SchedulerConfig, x0: Float32Array): Float32Array {
  if (config.thresholding) return threshold(config, x0);
  return config.clip_sample ? clamp(x0, config.clip_sample_range) : x0;
}

/** x₀ that a model output stands for: noise, the image itself, or velocity (Salimans & Ho 2022, arXiv:2202.00512). */
export const X0 = {
  epsilon: ({ alpha, sigma }, x, output) => sum([1 / alpha, x], [-sigma / alpha, output]),
  v_prediction: ({ alpha, sigma, norm }, x, output) => sum([alpha / norm ** 2, x], [-sigma / norm, output]),
  sample: (_level, _x, output) => output,
} satisfies Record<
  SchedulerConfig["prediction_type"],
  (level: NoiseLevel, x: Float32Array, output: Float32Array) => Float32Array
>;

/** The noise that a model output stands for. */
export const EPSILON = {
  epsilon: (_level, _x, output) => output,
  v_prediction: ({ alpha, sigma }, x, output) => sum([alpha, output], [sigma, x]),
  sample: ({ alpha, sigma }, x, output) => sum([1 / sigma, x], [-alpha / sigma, output]),
} satisfies typeof X0;

export function x0Of({ config, schedule, i, latents, output }: Step): Float32Array {
  return bound(config, (schedule.x0 ?? X0)[config.prediction_type](schedule.levels[i]!, latents, output));
}

export function epsilonOf({ config, schedule, i, latents, output }: Step): Float32Array {
  return EPSILON[config.prediction_type](schedule.levels[i]!, latents, output);
}

/** Standard deviations of the noise that a step to `to` adds and of what it leaves (k-diffusion, get_ancestral_step, η = 1). */
export function ancestral(from: number, to: number): { up: number; down: number } {
  const up = Math.min(to, Math.sqrt((to ** 2 * (from ** 2 - to ** 2)) / from ** 2));
  return { up, down: Math.sqrt(to ** 2 - up ** 2) };
}
