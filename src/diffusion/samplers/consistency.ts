/** Samplers for models that are distilled to need few steps: latent consistency and trajectory consistency. */
import { BETAS, type SchedulerConfig } from "../scheduler-config.ts";
import { CLIPPED, discreteSchedule } from "./ddim.ts";
import { fromAlpha } from "./levels.ts";
import { type Algorithm, epsilonOf, type Next, type Schedule, type Step, sum, x0Of } from "./step.ts";

const f32 = Math.fround;

/** `count` of the timesteps that the model was distilled for, evenly spaced by their number. */
function distilledSchedule(config: SchedulerConfig, count: number): Schedule {
  const original = config.original_inference_steps;
  const spacing = Math.floor(config.num_train_timesteps / original);
  const timesteps = Array.from(
    { length: count },
    (_, i) => (original - Math.floor(i * (original / count))) * spacing - 1,
  );
  return discreteSchedule(config, timesteps);
}

/** Latent consistency model, multistep: Luo et al. 2023 (arXiv:2310.04378), algorithm 3. */
function lcmStep(step: Step): Next {
  const { config, schedule, i, latents } = step;
  const scaled = schedule.timesteps[i]! * config.timestep_scaling;
  const sigmaData = 0.5;
  const skip = sigmaData ** 2 / (scaled ** 2 + sigmaData ** 2);
  const out = scaled / Math.sqrt(scaled ** 2 + sigmaData ** 2);
  const x0 = sum([out, x0Of(step)], [skip, latents]);
  const next = schedule.levels[i + 1];
  return { latents: next === undefined ? x0 : sum([next.alpha, x0], [next.sigma, step.draw()]) };
}

/**
 * Strategic stochastic sampling: Zheng et al. 2024 (arXiv:2402.19159), algorithm 4; γ is `eta`. To timestep s, below the next
 * one, and from there up to it by fresh noise.
 */
function tcdStep(step: Step): Next {
  const { schedule, i, eta } = step;
  const next = schedule.timesteps[i + 1] ?? 0;
  const below = Math.floor(f32(f32(1 - eta) * next));
  const [alphaBelow, alphaNext] = [schedule.alphas[below]!, schedule.alphas[next]!];
  const { alpha, sigma } = fromAlpha(alphaBelow);
  const clean = sum([alpha, x0Of(step)], [sigma, epsilonOf(step)]);
  if (eta === 0 || i === schedule.timesteps.length - 1) return { latents: clean };
  const kept = f32(alphaNext / alphaBelow);
  return { latents: sum([Math.sqrt(kept), clean], [Math.sqrt(f32(1 - kept)), step.draw()]) };
}

const defaults = { beta_start: 0.00085, beta_end: 0.012, beta_schedule: "scaled_linear" } as const;

export const lcm: Algorithm = {
  scheduler: {
    className: "LCMScheduler",
    keys: [...CLIPPED, "set_alpha_to_one", "original_inference_steps", "timestep_scaling"],
    defaults: { ...defaults, set_alpha_to_one: true },
  },
  order: 1,
  schedule: distilledSchedule,
  next: lcmStep,
};

export const tcd: Algorithm = {
  scheduler: {
    className: "TCDScheduler",
    // It knows clip_sample and thresholding, but heeds neither.
    keys: [...BETAS, "rescale_betas_zero_snr", "original_inference_steps"],
    defaults,
  },
  order: 1,
  schedule: distilledSchedule,
  next: tcdStep,
};
