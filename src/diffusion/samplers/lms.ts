/** Linear multistep: the derivative as a polynomial in σ through the latest four, integrated. */
import { BETAS, type SchedulerConfig, SIGMAS } from "../scheduler-config.ts";
import { eulerSchedule } from "./euler.ts";
import { type Algorithm, type Next, type Schedule, type Step, sum, type Term, x0Of } from "./step.ts";

const ORDER = 4;

/** Euler's; Karras' sigmas keep to the ends of the timesteps here, whatever sigma_min and sigma_max say. */
function lmsSchedule(config: SchedulerConfig, count: number): Schedule {
  return eulerSchedule(config.use_karras_sigmas ? { ...config, sigma_min: null, sigma_max: null } : config, count);
}

/** ∫ from the newest σ to `to` of the Lagrange polynomial that is 1 at sigmas[k]; of degree 3 at most, so Simpson's rule is exact. */
function coefficient(sigmas: readonly number[], k: number, to: number): number {
  const from = sigmas[0]!;
  const lagrange = (tau: number) =>
    sigmas.reduce((product, sigma, j) => (j === k ? product : (product * (tau - sigma)) / (sigmas[k]! - sigma)), 1);
  return ((to - from) / 6) * (lagrange(from) + 4 * lagrange((from + to) / 2) + lagrange(to));
}

/** k-diffusion, sample_lms. Of a run that begins amid the schedule, diffusers leaves out the derivatives that it has not. */
function lmsStep(step: Step): Next {
  const { schedule, i, latents } = step;
  const sigma = schedule.sigmas[i]!;
  const history = [...step.history.slice(-(ORDER - 1)), sum([1 / sigma, latents], [-1 / sigma, x0Of(step)])];
  const newestFirst = Array.from({ length: Math.min(i + 1, ORDER) }, (_, k) => schedule.sigmas[i - k]!);
  const terms = history
    .toReversed()
    .map((derivative, k): Term => [coefficient(newestFirst, k, schedule.sigmas[i + 1]!), derivative]);
  return { latents: sum([1, latents], ...terms), history };
}

export const lms: Algorithm = {
  scheduler: {
    className: "LMSDiscreteScheduler",
    keys: [...BETAS, ...SIGMAS],
    defaults: { timestep_spacing: "linspace" },
  },
  order: 1,
  schedule: lmsSchedule,
  next: lmsStep,
};
