/** Samplers that go from one training timestep's ᾱ to another's: DDIM, DDPM, LCM. */
import { alphasCumprod, spacedTimesteps } from "../schedule.ts";
import type { SchedulerConfig } from "../scheduler-config.ts";
import { fromAlpha } from "./levels.ts";
import { type Algorithm, EPSILON, type Next, type Schedule, type Step, sum, type Term, x0Of } from "./step.ts";

const f32 = Math.fround;

export function discreteSchedule(config: SchedulerConfig, timesteps: number[]): Schedule {
  const alphas = alphasCumprod(config);
  return { timesteps, alphas, levels: timesteps.map((t) => fromAlpha(alphas[t]!)), sigmas: [], initNoiseSigma: 1 };
}

export const alphaAt = (alphas: readonly number[], t: number, final: number) => (t >= 0 ? alphas[t]! : final);

export function finalAlpha({ config, schedule }: Step): number {
  return config.set_alpha_to_one ? 1 : schedule.alphas[0]!;
}

/** DDIM, η = 0: Song, Meng & Ermon 2020 (arXiv:2010.02502), equation 12. */
function ddimStep(step: Step): Next {
  const { config, schedule, i, latents, output } = step;
  const previous = schedule.timesteps[i]! - Math.floor(config.num_train_timesteps / step.numInferenceSteps);
  const to = fromAlpha(alphaAt(schedule.alphas, previous, finalAlpha(step)));
  const epsilon = EPSILON[config.prediction_type](schedule.levels[i]!, latents, output);
  return { latents: sum([to.alpha, x0Of(step)], [to.sigma, epsilon]) };
}

/** DDPM, small fixed variance: Ho, Jain & Abbeel 2020 (arXiv:2006.11239), equations 6 and 7. */
function ddpmStep(step: Step): Next {
  const { schedule, i, latents } = step;
  const from = schedule.alphas[schedule.timesteps[i]!]!;
  const to = alphaAt(schedule.alphas, schedule.timesteps[i + 1] ?? -1, 1);
  const alpha = f32(from / to);
  const beta = f32(1 - alpha);
  const [left, leftBefore] = [f32(1 - from), f32(1 - to)];
  const mean: Term[] = [
    [(Math.sqrt(to) * beta) / left, x0Of(step)],
    [(Math.sqrt(alpha) * leftBefore) / left, latents],
  ];
  if (schedule.timesteps[i] === 0) return { latents: sum(...mean) };
  const variance = Math.max((leftBefore / left) * beta, 1e-20);
  return { latents: sum(...mean, [Math.sqrt(variance), step.draw()]) };
}

function lcmSchedule(config: SchedulerConfig, count: number): Schedule {
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

const evenSchedule = (config: SchedulerConfig, count: number) =>
  discreteSchedule(config, spacedTimesteps(config, count));

export const ddim: Algorithm = { order: 1, schedule: evenSchedule, next: ddimStep };
export const ddpm: Algorithm = { order: 1, schedule: evenSchedule, next: ddpmStep };
export const lcm: Algorithm = { order: 1, schedule: lcmSchedule, next: lcmStep };
