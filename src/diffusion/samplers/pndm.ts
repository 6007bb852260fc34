/** PNDM: pseudo numerical methods over the training timesteps. */
import { spacedTimesteps } from "../schedule.ts";
import { BETAS, type SchedulerConfig } from "../scheduler-config.ts";
import { alphaAt, discreteSchedule, finalAlpha } from "./ddim.ts";
import { fromAlpha } from "./levels.ts";
import { type Algorithm, EPSILON, type Next, type Schedule, type Step, sum, type Term } from "./step.ts";

const f32 = Math.fround;

function pndmSchedule(config: SchedulerConfig, count: number): Schedule {
  const even = spacedTimesteps(config, count);
  const [first, second] = even;
  const repeated = second === undefined ? [first!] : [first!, second, second, ...even.slice(2)];
  return discreteSchedule(config, repeated);
}

/** The transfer of PNDM from timestep t to `previous`: Liu et al. 2022 (arXiv:2202.09778), equation 11. */
function transfer(step: Step, x: Float32Array, output: Float32Array, t: number, previous: number): Float32Array {
  const { config, schedule } = step;
  const from = schedule.alphas[t]!;
  const to = alphaAt(schedule.alphas, previous, finalAlpha(step));
  const epsilon = EPSILON[config.prediction_type](fromAlpha(from), x, output);
  const denominator = from * Math.sqrt(f32(1 - to)) + Math.sqrt(from * f32(1 - from) * to);
  return sum([Math.sqrt(to / from), x], [-f32(to - from) / denominator, epsilon]);
}

/** Adams-Bashforth weights of the newest, second newest, … model output. */
const MULTISTEP = [[1], [3 / 2, -1 / 2], [23 / 12, -16 / 12, 5 / 12], [55 / 24, -59 / 24, 37 / 24, -9 / 24]] as const;

/** Liu et al. 2022 (arXiv:2202.09778), algorithm 2, linear multistep from the start (PLMS): no Runge-Kutta steps. */
function pndmStep(step: Step): Next {
  const { schedule, i, latents, output } = step;
  const spacing = Math.floor(step.config.num_train_timesteps / step.numInferenceSteps);
  const t = schedule.timesteps[i]!;
  // The second evaluation goes over the first step again, with the mean of both ends.
  if (step.step === 1 && step.base !== null) {
    const mean = sum([0.5, output], [0.5, step.history.at(-1)!]);
    return { latents: transfer(step, step.base, mean, t + spacing, t), base: null };
  }
  const history = [...step.history.slice(-3), output];
  const weights = MULTISTEP[history.length - 1]!;
  const combined = sum(...weights.map((weight, back): Term => [weight, history.at(-1 - back)!]));
  return {
    latents: transfer(step, latents, combined, t, t - spacing),
    history,
    base: step.step === 0 ? latents : null,
  };
}

export const pndm: Algorithm = {
  scheduler: { className: "PNDMScheduler", keys: [...BETAS, "skip_prk_steps", "set_alpha_to_one"], defaults: {} },
  order: 1,
  schedule: pndmSchedule,
  next: pndmStep,
};
