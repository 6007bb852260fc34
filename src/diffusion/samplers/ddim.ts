/** Samplers that go from one training timestep's ᾱ to another's: DDIM and DDPM. */
import { alphasCumprod, spacedTimesteps } from "../schedule.ts";
import { BETAS, type Key, type SchedulerConfig, THRESHOLDING } from "../scheduler-config.ts";
import { fromAlpha } from "./levels.ts";
import { type Algorithm, epsilonOf, type Next, type Schedule, type Step, sum, type Term, x0Of } from "./step.ts";

const f32 = Math.fround;

export function discreteSchedule(config: SchedulerConfig, timesteps: number[]): Schedule {
  const alphas = alphasCumprod(config);
  return { timesteps, alphas, levels: timesteps.map((t) => fromAlpha(alphas[t]!)), sigmas: [], initNoiseSigma: 1 };
}

export const alphaAt = (alphas: readonly number[], t: number, final: number) => (t >= 0 ? alphas[t]! : final);

export function finalAlpha({ config, schedule }: Step): number {
  return config.set_alpha_to_one ? 1 : schedule.alphas[0]!;
}

/** DDIM: Song, Meng & Ermon 2020 (arXiv:2010.02502), equations 12 and 16. */
function ddimStep(step: Step): Next {
  const { config, schedule, i, eta } = step;
  const t = schedule.timesteps[i]!;
  const previous = t - Math.floor(config.num_train_timesteps / step.numInferenceSteps);
  const [from, to] = [schedule.alphas[t]!, alphaAt(schedule.alphas, previous, finalAlpha(step))];
  const signal = f32(Math.sqrt(to));
  const left = f32(1 - to);
  if (eta === 0) return { latents: sum([signal, x0Of(step)], [f32(Math.sqrt(left)), epsilonOf(step)]) };
  const fresh = eta * Math.sqrt((left / f32(1 - from)) * f32(1 - f32(from / to)));
  const kept = Math.sqrt(Math.max(left - fresh ** 2, 0));
  return { latents: sum([signal, x0Of(step)], [kept, epsilonOf(step)], [fresh, step.draw()]) };
}

/** DDPM, fixed variance, small or large: Ho, Jain & Abbeel 2020 (arXiv:2006.11239), equations 6 and 7. */
function ddpmStep(step: Step): Next {
  const { config, schedule, i, latents } = step;
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
  const variance = config.variance_type === "fixed_large" ? beta : Math.max((leftBefore / left) * beta, 1e-20);
  return { latents: sum(...mean, [Math.sqrt(variance), step.draw()]) };
}

const evenSchedule = (config: SchedulerConfig, count: number) =>
  discreteSchedule(config, spacedTimesteps(config, count));

export const CLIPPED = [
  ...BETAS,
  "rescale_betas_zero_snr",
  "clip_sample",
  "clip_sample_range",
  ...THRESHOLDING,
] as const satisfies readonly Key[];

export const ddim: Algorithm = {
  scheduler: {
    className: "DDIMScheduler",
    keys: [...CLIPPED, "set_alpha_to_one"],
    defaults: { clip_sample: true, set_alpha_to_one: true },
  },
  order: 1,
  schedule: evenSchedule,
  next: ddimStep,
};

export const ddpm: Algorithm = {
  scheduler: {
    className: "DDPMScheduler",
    keys: [...CLIPPED, "variance_type"],
    defaults: { clip_sample: true },
  },
  order: 1,
  schedule: evenSchedule,
  next: ddpmStep,
};
