/** SA-Solver: a stochastic Adams predictor, and a corrector over the same step with the same noise. */
import { BETAS, type SchedulerConfig, SIGMAS, THRESHOLDING } from "../scheduler-config.ts";
import { deisSchedule } from "./deis.ts";
import { fromAlpha, lambda } from "./levels.ts";
import { type Algorithm, epsilonOf, type Next, type Schedule, type Step, sum, type Term, x0Of } from "./step.ts";

/** DEIS'; images are noised to the timesteps' levels, also where the steps go over chosen sigmas. */
function saSchedule(config: SchedulerConfig, count: number): Schedule {
  const schedule = deisSchedule(config, count);
  return { ...schedule, noised: schedule.timesteps.map((t) => fromAlpha(schedule.alphas[t]!)) };
}

/** How much of a step at timestep `t` is the SDE's: diffusers' own τ, which no config can say otherwise. */
const stochasticity = (t: number) => (t >= 200 && t <= 800 ? 1 : 0);

/** ∫ exp(rate · x) xⁿ dx from `from` to `to`. */
function integral(n: number, rate: number, from: number, to: number): number {
  const ends = to ** n * Math.exp(rate * to) - from ** n * Math.exp(rate * from);
  return (n === 0 ? ends : ends - n * integral(n - 1, rate, from, to)) / rate;
}

/** The coefficients, constant first, of the polynomial that is 1 at nodes[k] and 0 at the others. */
function lagrange(nodes: readonly number[], k: number): number[] {
  let polynomial = [1];
  for (const node of nodes.filter((_, j) => j !== k)) {
    const lower = [0, ...polynomial];
    polynomial = lower.map((c, power) => (c - node * (polynomial[power] ?? 0)) / (nodes[k]! - node));
  }
  return polynomial;
}

/** What a step over λ from `from` to `to` goes by. */
interface Path {
  /** Entries of the schedule. */
  readonly from: number;
  readonly to: number;
  /** Model outputs at the entry `newest` of the schedule, and at those before it. */
  readonly newest: number;
  readonly outputs: readonly Float32Array[];
  /** Of x at the beginning, by the predictor; kept for the corrector. */
  readonly noise: Float32Array;
}

/** What is added to an order of 2 for few steps, to the newest output and less to the one before. */
function correction(h: number, rate: number, to: number, before: number | null): number {
  const exact = (h * rate - 1 + Math.exp(-rate * h)) / rate ** 2;
  const half = h ** 2 / 2 - exact;
  return (Math.exp(rate * to) * half) / (before ?? h);
}

/** One of SA-Solver's two updates: Xue et al. 2023 (arXiv:2309.05019), equations 14 and 17, over the data's prediction or the noise's. */
function update(
  { config, schedule: { levels, timesteps } }: Step,
  x: Float32Array,
  { from, to, newest, outputs, noise }: Path,
): Float32Array {
  const [start, end] = [levels[from]!, levels[to]!];
  const h = lambda(end) - lambda(start);
  const tau = stochasticity(timesteps[from]!) ** 2;
  const ofData = config.algorithm_type !== "noise_prediction";
  const rate = ofData ? 1 + tau : -1;
  const nodes = outputs.map((_, back) => lambda(levels[newest - back]!));
  const weights = nodes.map((_, k) =>
    lagrange(nodes, k).reduce((all, c, power) => all + c * integral(power, rate, lambda(start), lambda(end)), 0),
  );
  if (ofData && weights.length === 2) {
    const before = newest === to ? null : nodes[0]! - nodes[1]!;
    const added = correction(h, rate, lambda(end), before);
    weights[0]! += added;
    weights[1]! -= added;
  }
  const scale = ofData ? rate * end.sigma * Math.exp(-tau * lambda(end)) : -(1 + tau) * end.alpha;
  const kept = ofData ? Math.exp(-tau * h) * (end.sigma / start.sigma) : end.alpha / start.alpha;
  const fresh = ofData ? Math.sqrt(-Math.expm1(-2 * tau * h)) : Math.sqrt(tau * Math.expm1(2 * h));
  const terms = weights.map((weight, k): Term => [scale * weight, outputs[k]!]);
  return sum([kept, x], ...terms, [end.sigma * fresh, noise]);
}

/** Corrects the last step, then predicts. The history begins with the noise of the last step. */
function saStep(step: Step): Next {
  const { config, schedule, i, latents } = step;
  const { predictor_order, corrector_order, lower_order_final } = config;
  const left = lower_order_final ? schedule.timesteps.length - i : Number.POSITIVE_INFINITY;
  const output = config.algorithm_type === "noise_prediction" ? epsilonOf(step) : x0Of(step);
  const [noiseBefore, ...outputs] = step.history;
  const newestFirst = [output, ...outputs.toReversed()];

  let corrected = latents;
  if (noiseBefore !== undefined) {
    const order = Math.min(corrector_order, left + 2, step.step + 1);
    const path = { from: i - 1, to: i, newest: i, outputs: newestFirst.slice(0, order), noise: noiseBefore };
    corrected = update(step, step.base!, path);
  }
  const noise = step.draw();
  const order = Math.min(predictor_order, left, step.step + 1);
  const path = { from: i, to: i + 1, newest: i, outputs: newestFirst.slice(0, order), noise };
  const kept = Math.max(predictor_order, corrector_order - 1);
  const history = [noise, ...newestFirst.slice(0, kept).toReversed()];
  return { latents: update(step, corrected, path), history, base: corrected };
}

export const saSolver: Algorithm = {
  scheduler: {
    className: "SASolverScheduler",
    keys: [
      ...BETAS,
      ...SIGMAS,
      ...THRESHOLDING,
      "predictor_order",
      "corrector_order",
      "algorithm_type",
      "lower_order_final",
      "use_flow_sigmas",
      "lambda_min_clipped",
      "variance_type",
    ],
    defaults: { timestep_spacing: "linspace", algorithm_type: "data_prediction" },
    algorithms: { data_prediction: "data_prediction", noise_prediction: "noise_prediction" },
  },
  order: 1,
  schedule: saSchedule,
  next: saStep,
};
