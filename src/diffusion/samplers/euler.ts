/** Samplers that leave the image as it is and take noise away from it: Euler, Euler ancestral, Heun. */
import { alphasCumprod, interpolate, sigmasOf, spacedTimesteps, TERMINAL_ALPHA } from "../schedule.ts";
import { BETAS, type SchedulerClass, type SchedulerConfig, SIGMAS } from "../scheduler-config.ts";
import { chosenSigmas, exponentialSigmas, sigmaToTimestep } from "../sigmas.ts";
import { exploding, finalSigma } from "./levels.ts";
import { type Algorithm, ancestral, type Next, type Schedule, type Step, sum, x0Of } from "./step.ts";

const f32 = Math.fround;

export function eulerSchedule(config: SchedulerConfig, count: number): Schedule {
  const alphas = alphasCumprod(config, TERMINAL_ALPHA);
  const training = sigmasOf(alphas);
  let timesteps = spacedTimesteps(config, count, { fractional: true });
  let sigmas =
    config.interpolation_type === "log_linear"
      ? exponentialSigmas(training.at(-1)!, training[0]!, count + 1)
      : timesteps.map((t) => interpolate(training, t));
  const chosen = chosenSigmas(config, sigmas[0]!, sigmas.at(-1)!, count);
  if (chosen !== null) {
    sigmas = chosen;
    timesteps = sigmas.map((sigma) => f32(sigmaToTimestep(sigma, training)));
  }
  if (config.timestep_type === "continuous" && config.prediction_type === "v_prediction") {
    timesteps = sigmas.map((sigma) => f32(0.25 * f32(Math.log(f32(sigma)))));
  }
  sigmas = [...sigmas.map(f32), finalSigma(config, training)];
  const max = Math.max(...sigmas);
  const initNoiseSigma = config.timestep_spacing === "leading" ? f32(Math.sqrt(max ** 2 + 1)) : max;
  return { timesteps, alphas, sigmas, levels: sigmas.slice(0, -1).map(exploding), initNoiseSigma };
}

/** Euler's schedule with every timestep but the first twice: predictor, then corrector. */
function heunSchedule(config: SchedulerConfig, count: number): Schedule {
  const euler = eulerSchedule(config, count);
  const twice = <T>(values: T[]) => values.flatMap((value, i) => (i === 0 ? [value] : [value, value]));
  const sigmas = [...twice(euler.sigmas.slice(0, -1)), 0];
  return { ...euler, timesteps: twice(euler.timesteps), levels: twice(euler.levels), sigmas };
}

/**
 * x + (to − from) (x − x₀) / from, rounded to float32 after each operation as torch does. From σ = 4096 (zero terminal SNR)
 * down to a few, float32 keeps too little of x for the difference not to be seen: the reference's rounding is part of its picture.
 */
function roundedLine(latents: Float32Array, x0: Float32Array, from: number, to: number): Float32Array {
  const width = f32(to - from);
  return latents.map((x, k) => f32(x + f32(f32(f32(x - x0[k]!) / from) * width)));
}

/** x₀ of a velocity, rounded likewise. */
function roundedX0({ config, schedule, i, latents, output }: Step, x0: Float32Array): Float32Array {
  if (config.prediction_type !== "v_prediction") return x0;
  const sigma = schedule.sigmas[i]!;
  const variance = f32(f32(sigma * sigma) + 1);
  const out = f32(-sigma / f32(Math.sqrt(variance)));
  return latents.map((x, k) => f32(f32(output[k]! * out) + f32(x / variance)));
}

/** Euler, no churn: Karras et al. 2022 (arXiv:2206.00364), algorithm 2. */
export function eulerStep(step: Step): Next {
  const { config, schedule, i, latents } = step;
  const [from, to] = [schedule.sigmas[i]!, schedule.sigmas[i + 1]!];
  const x0 = x0Of(step);
  return config.rescale_betas_zero_snr
    ? { latents: roundedLine(latents, roundedX0(step, x0), from, to) }
    : { latents: sum([to / from, latents], [1 - to / from, x0]) };
}

/** Euler with ancestral noise: k-diffusion, sample_euler_ancestral, η = 1. */
function eulerAncestralStep(step: Step): Next {
  const { schedule, i, latents } = step;
  const [from, to] = [schedule.sigmas[i]!, schedule.sigmas[i + 1]!];
  const { up, down } = ancestral(from, to);
  return { latents: sum([down / from, latents], [1 - down / from, x0Of(step)], [up, step.draw()]) };
}

/** Heun, no churn: Karras et al. 2022 (arXiv:2206.00364), algorithm 1. Two evaluations a step; the last has one. */
function heunStep(step: Step): Next {
  const { schedule, i, latents } = step;
  const derivative = sum([1 / schedule.sigmas[i]!, latents], [-1 / schedule.sigmas[i]!, x0Of(step)]);
  if (step.base === null) {
    const width = schedule.sigmas[i + 1]! - schedule.sigmas[i]!;
    return { latents: sum([1, latents], [width, derivative]), history: [derivative], base: latents };
  }
  const half = (schedule.sigmas[i]! - schedule.sigmas[i - 1]!) / 2;
  return { latents: sum([1, step.base], [half, step.history[0]!], [half, derivative]), history: [], base: null };
}

export const EULER: SchedulerClass = {
  className: "EulerDiscreteScheduler",
  keys: [...BETAS, ...SIGMAS, "interpolation_type", "rescale_betas_zero_snr", "final_sigmas_type", "timestep_type"],
  defaults: { timestep_spacing: "linspace" },
};

export const euler: Algorithm = { scheduler: EULER, order: 1, schedule: eulerSchedule, next: eulerStep };

export const eulerAncestral: Algorithm = {
  scheduler: {
    className: "EulerAncestralDiscreteScheduler",
    keys: [...BETAS, "rescale_betas_zero_snr"],
    defaults: { timestep_spacing: "linspace" },
  },
  order: 1,
  schedule: eulerSchedule,
  next: eulerAncestralStep,
};

export const heun: Algorithm = {
  scheduler: {
    className: "HeunDiscreteScheduler",
    keys: [...BETAS, ...SIGMAS, "clip_sample", "clip_sample_range"],
    defaults: { timestep_spacing: "linspace", beta_start: 0.00085, beta_end: 0.012 },
  },
  order: 2,
  schedule: heunSchedule,
  next: heunStep,
};
