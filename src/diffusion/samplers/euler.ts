/** Samplers that leave the image as it is and take noise away from it: Euler, Euler ancestral, Heun. */
import { alphasCumprod, interpolate, karrasSigmas, sigmasOf, sigmaToTimestep, spacedTimesteps } from "../schedule.ts";
import type { SchedulerConfig } from "../scheduler-config.ts";
import { exploding, finalSigma, TERMINAL_ALPHA } from "./levels.ts";
import { type Algorithm, type Next, type Schedule, type Step, sum, x0Of } from "./step.ts";

const f32 = Math.fround;

function eulerSchedule(config: SchedulerConfig, count: number): Schedule {
  const alphas = alphasCumprod(config, TERMINAL_ALPHA);
  const training = sigmasOf(alphas);
  let timesteps = spacedTimesteps(config, count, { fractional: true });
  let sigmas = timesteps.map((t) => interpolate(training, t));
  if (config.use_karras_sigmas) {
    sigmas = karrasSigmas(config, sigmas[0]!, sigmas.at(-1)!, count);
    timesteps = sigmas.map((sigma) => f32(sigmaToTimestep(sigma, training)));
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

/** Euler, no churn: Karras et al. 2022 (arXiv:2206.00364), algorithm 2. */
function eulerStep(step: Step): Next {
  const { schedule, i, latents } = step;
  const [from, to] = [schedule.sigmas[i]!, schedule.sigmas[i + 1]!];
  return { latents: sum([to / from, latents], [1 - to / from, x0Of(step)]) };
}

/** Euler with ancestral noise: k-diffusion, sample_euler_ancestral, η = 1. */
function eulerAncestralStep(step: Step): Next {
  const { schedule, i, latents } = step;
  const [from, to] = [schedule.sigmas[i]!, schedule.sigmas[i + 1]!];
  const up = Math.sqrt((to ** 2 * (from ** 2 - to ** 2)) / from ** 2);
  const down = Math.sqrt(to ** 2 - up ** 2);
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

export const euler: Algorithm = { order: 1, schedule: eulerSchedule, next: eulerStep };
export const eulerAncestral: Algorithm = { order: 1, schedule: eulerSchedule, next: eulerAncestralStep };
export const heun: Algorithm = { order: 2, schedule: heunSchedule, next: heunStep };
