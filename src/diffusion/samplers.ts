/**
 * Every sampler as a pure function from state and model output to state. A state is plain data of one picture; nothing
 * of a generation hides anywhere else, so it can be stored, moved and gone on with after any network evaluation.
 * Arithmetic follows huggingface/diffusers, src/diffusers/schedulers.
 */

import type { SchedulerName } from "../schema.ts";
import {
  alphasCumprod,
  interpolate,
  karrasSigmas,
  rint,
  sigmasOf,
  sigmaToTimestep,
  spacedTimesteps,
} from "./schedule.ts";
import { type SchedulerConfig, schedulerConfig } from "./scheduler-config.ts";

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
  /** the part of a Runge-Kutta sum already gathered */
  gathered: Float32Array | null;
}

/** Standard normal draws from the picture's own generator. */
export type DrawNoise = (count: number) => Float32Array;

export interface Sampler {
  /** network evaluations, the unit of progress */
  total: number;
  /** the timestep that each evaluation is told, may be fractional */
  timesteps: readonly number[];
  /** what standard normal noise is multiplied by to become the first latents (text-to-image) */
  initNoiseSigma: number;
  start(latents: Float32Array): SamplerState;
  /** the latents as the network wants them for the next evaluation */
  input(state: SamplerState): Float32Array;
  /** the state after an evaluation whose output (after guidance) is given; leaves `state` as it is */
  next(state: SamplerState, modelOutput: Float32Array, noise: DrawNoise): SamplerState;
  /** the image that this evaluation expects at the end (x₀, in latents), for previews */
  denoised(state: SamplerState, modelOutput: Float32Array): Float32Array;
  /** clean latents at the noise level of an evaluation (0 is the first): the start of image-to-image, blending */
  addNoise(clean: Float32Array, noise: Float32Array, evaluation: number): Float32Array;
}

/** This many steps, or this strength, cannot be run by this scheduler. */
export class StepCountError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "StepCountError";
  }
}

/** latents = alpha · x₀ + sigma · noise; the network is shown latents / norm. */
interface Level {
  alpha: number;
  sigma: number;
  norm: number;
}

/** A run's noise schedule, one entry an evaluation; `sigmas` has the final one too. */
interface Schedule {
  timesteps: number[];
  levels: Level[];
  initNoiseSigma: number;
  /** ᾱ of every training timestep */
  alphas: number[];
  sigmas: number[];
}

/** Everything a step may look at. `i`: index of this evaluation in the whole schedule. */
interface Step extends SamplerState {
  config: SchedulerConfig;
  schedule: Schedule;
  numInferenceSteps: number;
  i: number;
  output: Float32Array;
  draw: () => Float32Array;
}

type Next = Pick<SamplerState, "latents"> & Partial<SamplerState>;

interface Algorithm {
  /** entries of the schedule per inference step, where image-to-image skips steps (diffusers' `order`) */
  order: 1 | 2;
  schedule(config: SchedulerConfig, numInferenceSteps: number): Schedule;
  next(step: Step): Next;
}

type Term = readonly [coefficient: number, array: Float32Array];

/** Σ coefficient · array, summed in double, rounded once. */
function sum(...terms: Term[]): Float32Array {
  const total = new Float64Array(terms[0]![1].length);
  for (const [coefficient, array] of terms) {
    for (let k = 0; k < total.length; k++) total[k]! += coefficient * array[k]!;
  }
  return Float32Array.from(total);
}

function clip(config: SchedulerConfig, x0: Float32Array): Float32Array {
  if (!config.clip_sample) return x0;
  const range = config.clip_sample_range;
  return x0.map((value) => Math.min(Math.max(value, -range), range));
}

/** x₀ that a model output stands for: noise, the image itself, or velocity (Salimans & Ho 2022, arXiv:2202.00512). */
const X0 = {
  epsilon: ({ alpha, sigma }, x, output) => sum([1 / alpha, x], [-sigma / alpha, output]),
  v_prediction: ({ alpha, sigma, norm }, x, output) => sum([alpha / norm ** 2, x], [-sigma / norm, output]),
  sample: (_level, _x, output) => output,
} satisfies Record<
  SchedulerConfig["prediction_type"],
  (level: Level, x: Float32Array, output: Float32Array) => Float32Array
>;

/** The noise that a model output stands for. */
const EPSILON = {
  epsilon: (_level, _x, output) => output,
  v_prediction: ({ alpha, sigma }, x, output) => sum([alpha, output], [sigma, x]),
  sample: ({ alpha, sigma }, x, output) => sum([1 / sigma, x], [-alpha / sigma, output]),
} satisfies typeof X0;

const f32 = Math.fround;

/** Level of a schedule that keeps the variance of the latents at 1. */
const fromAlpha = (a: number): Level => ({ alpha: f32(Math.sqrt(a)), sigma: f32(Math.sqrt(f32(1 - a))), norm: 1 });

/** The same, from σ = noise / signal. */
function fromSigma(sigma: number): Level {
  const alpha = 1 / Math.sqrt(sigma ** 2 + 1);
  return { alpha, sigma: sigma * alpha, norm: 1 };
}

/** Level of a schedule that leaves the image as it is and adds noise to it. */
const exploding = (sigma: number): Level => ({ alpha: 1, sigma, norm: Math.sqrt(sigma ** 2 + 1) });

function discreteSchedule(config: SchedulerConfig, timesteps: number[]): Schedule {
  const alphas = alphasCumprod(config);
  return { timesteps, alphas, levels: timesteps.map((t) => fromAlpha(alphas[t]!)), sigmas: [], initNoiseSigma: 1 };
}

/** The smallest ᾱ that samplers which work with σ use under rescale_betas_zero_snr. */
const TERMINAL_ALPHA = 2 ** -24;

function finalSigma(config: SchedulerConfig, training: readonly number[]): number {
  return config.final_sigmas_type === "sigma_min" ? training[0]! : 0;
}

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

function solverSchedule(config: SchedulerConfig, count: number, whole = rint): Schedule {
  const alphas = alphasCumprod(config, TERMINAL_ALPHA);
  const training = sigmasOf(alphas);
  // λ = −log σ falls with t: timesteps below the clip are not used
  const last = training.filter((sigma) => -Math.log(sigma) >= config.lambda_min_clipped).length;
  let timesteps = spacedTimesteps(config, count, { open: true, last });
  let sigmas = timesteps.map((t) => interpolate(training, t));
  if (config.use_karras_sigmas) {
    sigmas = karrasSigmas(config, training.at(-1)!, training[0]!, count);
    timesteps = sigmas.map((sigma) => whole(sigmaToTimestep(sigma, training)));
  }
  sigmas = [...sigmas.map(f32), finalSigma(config, training)];
  return { timesteps, alphas, sigmas, levels: sigmas.slice(0, -1).map(fromSigma), initNoiseSigma: 1 };
}

/** DPM-Solver++'s: over a cosine schedule diffusers cuts Karras timesteps off where it rounds them over the others. */
function dpmSolverSchedule(config: SchedulerConfig, count: number): Schedule {
  return solverSchedule(config, count, config.beta_schedule === "squaredcos_cap_v2" ? Math.trunc : rint);
}

function pndmSchedule(config: SchedulerConfig, count: number): Schedule {
  const even = spacedTimesteps(config, count);
  if (config.skip_prk_steps) {
    const [first, second] = even;
    const repeated = second === undefined ? [first!] : [first!, second, second, ...even.slice(2)];
    return discreteSchedule(config, repeated);
  }
  if (count < 4) throw new StepCountError("pndm with Runge-Kutta steps needs 4 inference steps or more");
  const half = Math.floor(Math.floor(config.num_train_timesteps / count) / 2);
  const [t0, t1, t2, t3] = even as [number, number, number, number];
  const rungeKutta = [t0, t1, t2].flatMap((t, i) => {
    const below = [t1, t2, t3][i]!;
    return [t, below + half, below + half, below];
  });
  return discreteSchedule(config, [...rungeKutta, ...even.slice(3)]);
}

function lcmSchedule(config: SchedulerConfig, count: number): Schedule {
  const original = config.original_inference_steps;
  if (count > original || original > config.num_train_timesteps) {
    throw new StepCountError(`lcm has ${original} original inference steps: ${count} cannot be chosen from them`);
  }
  const spacing = Math.floor(config.num_train_timesteps / original);
  const timesteps = Array.from(
    { length: count },
    (_, i) => (original - Math.floor(i * (original / count))) * spacing - 1,
  );
  return discreteSchedule(config, timesteps);
}

const alphaAt = (alphas: readonly number[], t: number, final: number) => (t >= 0 ? alphas[t]! : final);

function finalAlpha({ config, schedule }: Step): number {
  return config.set_alpha_to_one ? 1 : schedule.alphas[0]!;
}

function x0Of({ config, schedule, i, latents, output }: Step): Float32Array {
  return clip(config, X0[config.prediction_type](schedule.levels[i]!, latents, output));
}

/** DDIM, η = 0: Song, Meng & Ermon 2020 (arXiv:2010.02502), equation 12. */
function ddim(step: Step): Next {
  const { config, schedule, i, latents, output } = step;
  const previous = schedule.timesteps[i]! - Math.floor(config.num_train_timesteps / step.numInferenceSteps);
  const to = fromAlpha(alphaAt(schedule.alphas, previous, finalAlpha(step)));
  const epsilon = EPSILON[config.prediction_type](schedule.levels[i]!, latents, output);
  return { latents: sum([to.alpha, x0Of(step)], [to.sigma, epsilon]) };
}

/** DDPM, small fixed variance: Ho, Jain & Abbeel 2020 (arXiv:2006.11239), equations 6 and 7. */
function ddpm(step: Step): Next {
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

/** The transfer of PNDM from timestep t to `previous`: Liu et al. 2022 (arXiv:2202.09778), equation 11. */
function transfer(step: Step, x: Float32Array, output: Float32Array, t: number, previous: number): Float32Array {
  const { config, schedule } = step;
  const from = schedule.alphas[t]!;
  const to = alphaAt(schedule.alphas, previous, finalAlpha(step));
  const epsilon = EPSILON[config.prediction_type](fromAlpha(from), x, output);
  const denominator = from * Math.sqrt(f32(1 - to)) + Math.sqrt(from * f32(1 - from) * to);
  return sum([Math.sqrt(to / from), x], [-f32(to - from) / denominator, epsilon]);
}

/** PNDM: Liu et al. 2022 (arXiv:2202.09778), algorithm 2; with skip_prk_steps linear multistep from the start (PLMS). */
function pndm(step: Step): Next {
  const rungeKutta = step.config.skip_prk_steps ? 0 : 12;
  return step.step < rungeKutta ? pndmRungeKutta(step) : pndmMultistep(step);
}

function pndmRungeKutta(step: Step): Next {
  const { schedule, i, latents, output, history, gathered } = step;
  const phase = step.step % 4;
  const spacing = Math.floor(step.config.num_train_timesteps / step.numInferenceSteps);
  const t = schedule.timesteps[step.step - phase]!;
  const previous = schedule.timesteps[i]! - (phase % 2 === 0 ? Math.floor(spacing / 2) : 0);
  const base = phase === 0 ? latents : (step.base ?? latents);
  const weighted: Term = [phase === 0 || phase === 3 ? 1 / 6 : 1 / 3, output];
  const total = gathered === null ? sum(weighted) : sum([1, gathered], weighted);
  const used = phase === 3 ? total : output;
  return {
    latents: transfer(step, base, used, t, previous),
    history: phase === 0 ? [...history, output] : history,
    base,
    gathered: phase === 3 ? null : total,
  };
}

/** Adams-Bashforth weights of the newest, second newest, … model output. */
const MULTISTEP = [[1], [3 / 2, -1 / 2], [23 / 12, -16 / 12, 5 / 12], [55 / 24, -59 / 24, 37 / 24, -9 / 24]] as const;

function pndmMultistep(step: Step): Next {
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

/** Euler, no churn: Karras et al. 2022 (arXiv:2206.00364), algorithm 2. */
function euler(step: Step): Next {
  const { schedule, i, latents } = step;
  const [from, to] = [schedule.sigmas[i]!, schedule.sigmas[i + 1]!];
  return { latents: sum([to / from, latents], [1 - to / from, x0Of(step)]) };
}

/** Euler with ancestral noise: k-diffusion, sample_euler_ancestral, η = 1. */
function eulerAncestral(step: Step): Next {
  const { schedule, i, latents } = step;
  const [from, to] = [schedule.sigmas[i]!, schedule.sigmas[i + 1]!];
  const up = Math.sqrt((to ** 2 * (from ** 2 - to ** 2)) / from ** 2);
  const down = Math.sqrt(to ** 2 - up ** 2);
  return { latents: sum([down / from, latents], [1 - down / from, x0Of(step)], [up, step.draw()]) };
}

/** Heun, no churn: Karras et al. 2022 (arXiv:2206.00364), algorithm 1. Two evaluations a step; the last has one. */
function heun(step: Step): Next {
  const { schedule, i, latents } = step;
  const derivative = sum([1 / schedule.sigmas[i]!, latents], [-1 / schedule.sigmas[i]!, x0Of(step)]);
  if (step.base === null) {
    const width = schedule.sigmas[i + 1]! - schedule.sigmas[i]!;
    return { latents: sum([1, latents], [width, derivative]), history: [derivative], base: latents };
  }
  const half = (schedule.sigmas[i]! - schedule.sigmas[i - 1]!) / 2;
  return { latents: sum([1, step.base], [half, step.history[0]!], [half, derivative]), history: [], base: null };
}

const lambda = ({ alpha, sigma }: Level) => Math.log(alpha) - Math.log(sigma);

/** DPM-Solver++ multistep, ODE or SDE: Lu et al. 2022 (arXiv:2211.01095), algorithm 2 and appendix. */
function dpmSolver(step: Step): Next {
  const { config, schedule, i, latents } = step;
  const x0 = x0Of(step);
  const stochastic = config.algorithm_type === "sde-dpmsolver++";
  const noise = stochastic ? step.draw() : null;
  const count = schedule.timesteps.length;
  const few = config.lower_order_final && count < 15;
  const lowest = i === count - 1 && (config.euler_at_final || few || config.final_sigmas_type === "zero");
  const order = Math.min(config.solver_order, step.step + 1, lowest ? 1 : i === count - 2 && few ? 2 : 3);

  const to = fromSigma(schedule.sigmas[i + 1]!);
  const from = schedule.levels[i]!;
  const h = lambda(to) - lambda(from);
  const width = stochastic ? 2 * h : h;
  const phi = -Math.expm1(-width);
  const terms: Term[] = [
    [(to.sigma / from.sigma) * (stochastic ? Math.exp(-h) : 1), latents],
    [to.alpha * phi, x0],
  ];
  if (order > 1) {
    const before = step.history.at(-1)!;
    const r0 = (lambda(from) - lambda(schedule.levels[i - 1]!)) / h;
    const d10 = sum([1 / r0, x0], [-1 / r0, before]);
    if (order === 2) {
      const heunLike = config.solver_type === "heun";
      terms.push([to.alpha * (heunLike ? 1 - phi / width : 0.5 * phi), d10]);
    } else {
      const r1 = (lambda(schedule.levels[i - 1]!) - lambda(schedule.levels[i - 2]!)) / h;
      const d11 = sum([1 / r1, before], [-1 / r1, step.history.at(-2)!]);
      const d1 = sum([1 + r0 / (r0 + r1), d10], [-r0 / (r0 + r1), d11]);
      const d2 = sum([1 / (r0 + r1), d10], [-1 / (r0 + r1), d11]);
      // diffusers subtracts the half in the stochastic case too
      const second = (phi - width) / width ** 2 + (stochastic ? -0.5 : 0.5);
      terms.push([to.alpha * (1 - phi / width), d1], [to.alpha * second, d2]);
    }
  }
  if (noise !== null) terms.push([to.sigma * Math.sqrt(-Math.expm1(-2 * h)), noise]);
  const kept = config.solver_order - 1;
  return { latents: sum(...terms), history: kept === 0 ? [] : [...step.history, x0].slice(-kept) };
}

/** x with A·x = b, by elimination with partial pivoting; A is small. */
function solve(a: readonly (readonly number[])[], b: readonly number[]): number[] {
  const rows = a.map((row, r) => [...row, b[r]!]);
  const size = rows.length;
  for (let c = 0; c < size; c++) {
    let pivot = c;
    for (let r = c + 1; r < size; r++) if (Math.abs(rows[r]![c]!) > Math.abs(rows[pivot]![c]!)) pivot = r;
    [rows[c], rows[pivot]] = [rows[pivot]!, rows[c]!];
    for (let r = 0; r < size; r++) {
      if (r === c) continue;
      const factor = rows[r]![c]! / rows[c]![c]!;
      for (let k = c; k <= size; k++) rows[r]![k]! -= factor * rows[c]![k]!;
    }
  }
  return rows.map((row, r) => row[size]! / row[r]!);
}

/** One of UniPC's two updates from `from` to `to`; `outputs` are x₀ at `from` (newest, last) and before. */
function unipcUpdate(
  config: SchedulerConfig,
  x: Float32Array,
  outputs: readonly Float32Array[],
  levels: { to: Level; from: Level; before: readonly Level[] },
  corrected: Float32Array | null,
): Float32Array {
  const { to, from, before } = levels;
  const order = before.length + 1;
  const newest = outputs.at(-1)!;
  const h = lambda(to) - lambda(from);
  const ratios = [...before.map((level) => (lambda(level) - lambda(from)) / h), 1];
  const phi1 = Math.expm1(-h);
  const b1 = config.solver_type === "bh1" ? -h : phi1;
  const rhs: number[] = [];
  let phi = phi1 / -h - 1;
  for (let k = 1, factorial = 1; k <= order; k++) {
    rhs.push((phi * factorial) / b1);
    factorial *= k + 1;
    phi = phi / -h - 1 / factorial;
  }
  const size = corrected === null ? order - 1 : order;
  const matrix = rhs.slice(0, size).map((_, power) => ratios.slice(0, size).map((ratio) => ratio ** power));
  // The lowest orders have a fixed weight: 1/2 for the predictor's second and the corrector's first.
  const weights = (corrected === null ? order === 2 : order === 1) ? [0.5] : solve(matrix, rhs.slice(0, size));
  const terms: Term[] = [
    [to.sigma / from.sigma, x],
    [-to.alpha * phi1, newest],
  ];
  for (const [k] of before.entries()) {
    const weight = (-to.alpha * b1 * weights[k]!) / ratios[k]!;
    terms.push([weight, outputs.at(-2 - k)!], [-weight, newest]);
  }
  if (corrected !== null) {
    const weight = -to.alpha * b1 * weights[order - 1]!;
    terms.push([weight, corrected], [-weight, newest]);
  }
  return sum(...terms);
}

/** UniPC, predicting x₀: Zhao et al. 2023 (arXiv:2302.04867), algorithms 5 and 6. Corrects the last step, then predicts. */
function unipc(step: Step): Next {
  const { config, schedule, i, latents, history } = step;
  const { levels } = schedule;
  const orderAt = (index: number, done: number) =>
    Math.min(
      config.solver_order,
      done + 1,
      config.lower_order_final ? schedule.timesteps.length - index : config.solver_order,
    );
  const before = (index: number, count: number) => Array.from({ length: count }, (_, k) => levels[index - 1 - k]!);

  const x0 = x0Of(step);
  let corrected = latents;
  if (step.base !== null && !config.disable_corrector.includes(i - 1)) {
    const path = { to: levels[i]!, from: levels[i - 1]!, before: before(i - 1, orderAt(i - 1, step.step - 1) - 1) };
    corrected = unipcUpdate(config, step.base, history, path, x0);
  }
  const outputs = [...history, x0].slice(-config.solver_order);
  const path = {
    to: fromSigma(schedule.sigmas[i + 1]!),
    from: levels[i]!,
    before: before(i, orderAt(i, step.step) - 1),
  };
  return { latents: unipcUpdate(config, corrected, outputs, path, null), history: outputs, base: corrected };
}

/** Latent consistency model, multistep: Luo et al. 2023 (arXiv:2310.04378), algorithm 3. */
function lcm(step: Step): Next {
  const { config, schedule, i, latents } = step;
  const scaled = schedule.timesteps[i]! * config.timestep_scaling;
  const sigmaData = 0.5;
  const skip = sigmaData ** 2 / (scaled ** 2 + sigmaData ** 2);
  const out = scaled / Math.sqrt(scaled ** 2 + sigmaData ** 2);
  const x0 = sum([out, x0Of(step)], [skip, latents]);
  const next = schedule.levels[i + 1];
  return { latents: next === undefined ? x0 : sum([next.alpha, x0], [next.sigma, step.draw()]) };
}

const ddimSchedule = (config: SchedulerConfig, count: number) =>
  discreteSchedule(config, spacedTimesteps(config, count));
const EULER: Algorithm = { order: 1, schedule: eulerSchedule, next: euler };
const DPM_SOLVER: Algorithm = { order: 1, schedule: dpmSolverSchedule, next: dpmSolver };

const ALGORITHMS = {
  ddim: { order: 1, schedule: ddimSchedule, next: ddim },
  ddpm: { order: 1, schedule: ddimSchedule, next: ddpm },
  pndm: { order: 1, schedule: pndmSchedule, next: pndm },
  euler: EULER,
  euler_karras: EULER,
  euler_ancestral: { order: 1, schedule: eulerSchedule, next: eulerAncestral },
  heun: { order: 2, schedule: heunSchedule, next: heun },
  dpmpp_2m: DPM_SOLVER,
  dpmpp_2m_karras: DPM_SOLVER,
  dpmpp_2m_sde_karras: DPM_SOLVER,
  unipc: { order: 1, schedule: solverSchedule, next: unipc },
  lcm: { order: 1, schedule: lcmSchedule, next: lcm },
} satisfies Record<SchedulerName, Algorithm>;

/**
 * The sampler called `name` over a checkpoint's scheduler_config.json, for `numInferenceSteps` (1 …). With `strength`
 * (0 … 1, image-to-image and inpainting) the first timesteps are skipped as diffusers' get_timesteps does.
 * Throws SchedulerConfigError (the config) and StepCountError (steps or strength).
 */
export function createSampler(
  name: SchedulerName,
  rawConfig: Readonly<Record<string, unknown>>,
  numInferenceSteps: number,
  { strength = 1 }: { strength?: number } = {},
): Sampler {
  const config = schedulerConfig(name, rawConfig);
  const { order, schedule: makeSchedule, next }: Algorithm = ALGORITHMS[name];
  if (numInferenceSteps > config.num_train_timesteps) {
    throw new StepCountError(`${numInferenceSteps} steps, but the model has ${config.num_train_timesteps} timesteps`);
  }
  const whole = makeSchedule(config, numInferenceSteps);
  const kept = Math.min(Math.trunc(numInferenceSteps * strength), numInferenceSteps);
  const begin = (numInferenceSteps - kept) * order;
  const timesteps = whole.timesteps.slice(begin);
  if (kept < 1 || timesteps.length === 0) {
    throw new StepCountError(`strength ${strength} of ${numInferenceSteps} steps leaves no step to run`);
  }
  return {
    total: timesteps.length,
    timesteps,
    initNoiseSigma: whole.initNoiseSigma,
    start: (latents) => ({ step: 0, latents, history: [], base: null, gathered: null }),
    input: ({ step, latents }) => {
      const { norm } = whole.levels[begin + step]!;
      return norm === 1 ? latents : latents.map((x) => x / norm);
    },
    next: (state, output, noise) => {
      const draw = () => noise(state.latents.length);
      const i = begin + state.step;
      const changed = next({ ...state, config, schedule: whole, numInferenceSteps, i, output, draw });
      return { ...state, ...changed, step: state.step + 1 };
    },
    denoised: (state, output) => X0[config.prediction_type](whole.levels[begin + state.step]!, state.latents, output),
    addNoise: (clean, noise, evaluation) => {
      const { alpha, sigma } = whole.levels[begin + evaluation]!;
      return sum([alpha, clean], [sigma, noise]);
    },
  };
}
