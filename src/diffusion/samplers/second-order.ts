/** Methods of k-diffusion that evaluate the network twice a step, the second time at a level in between; the last step has one. */
import { alphasCumprod, rint, sigmasOf, TERMINAL_ALPHA } from "../schedule.ts";
import { BETAS, type SchedulerClass, type SchedulerConfig, SIGMAS } from "../scheduler-config.ts";
import { sigmaToTimestep } from "../sigmas.ts";
import { EULER, eulerSchedule } from "./euler.ts";
import { exploding } from "./levels.ts";
import { type Algorithm, ancestral, type Next, type Schedule, type Step, sum, x0Of } from "./step.ts";

const f32 = Math.fround;

/** The σ between two neighbours of Euler's schedule at which the second evaluation is made. */
type Between = (from: number, to: number) => number;

/** Half way in log σ. */
const geometricMean: Between = (from, to) => f32(Math.sqrt(from * to));
/** Half way in log σ to where an ancestral step goes before it adds noise. */
const ancestralMean: Between = (from, to) => f32(Math.sqrt(from * ancestral(from, to).down));

/** Euler's schedule with a level between each two. */
function pairedSchedule(config: SchedulerConfig, count: number, between: Between): Schedule {
  const { sigmas: all, timesteps, ...euler } = eulerSchedule(config, count);
  const training = sigmasOf(alphasCumprod(config, TERMINAL_ALPHA));
  const sigmas = all.slice(0, -1);
  const middles = sigmas.slice(1).map((sigma, i) => between(sigmas[i]!, sigma));
  const paired = (own: number[], inner: number[]) =>
    own.flatMap((value, i) => (i === 0 ? [value] : [inner[i - 1]!, value]));
  const walked = paired(sigmas, middles);
  return {
    ...euler,
    timesteps: paired(
      timesteps,
      middles.map((sigma) => f32(sigmaToTimestep(sigma, training))),
    ),
    sigmas: [...walked, 0],
    levels: walked.map(exploding),
  };
}

/** The same as diffusers' KDPM2 schedulers have it: Karras' timesteps rounded, images noised to the end of the step. */
function kdpm2Schedule(between: Between) {
  return (config: SchedulerConfig, count: number): Schedule => {
    const schedule = pairedSchedule(config, count, between);
    const round = (t: number, i: number) => (i % 2 === 0 ? rint(t) : t);
    const ends = schedule.sigmas.slice(0, -1).map((sigma, i) => (i % 2 === 0 ? sigma : schedule.sigmas[i + 1]!));
    return {
      ...schedule,
      ...(config.use_karras_sigmas && { timesteps: schedule.timesteps.map(round) }),
      noised: ends.map(exploding),
    };
  };
}

/** x at σ `to`, on the straight line through x at `from` and x₀. */
const along = (x: Float32Array, x0: Float32Array, from: number, to: number) => sum([to / from, x], [1 - to / from, x0]);

/** What a first half does: to the level in between (or to the end, for the last step), and remembers where it began. */
function firstHalf(step: Step): Next {
  const { schedule, i, latents } = step;
  return { latents: along(latents, x0Of(step), schedule.sigmas[i]!, schedule.sigmas[i + 1]!), base: latents };
}

/** DPM-Solver-2: Karras et al. 2022 (arXiv:2206.00364), algorithm 2, as k-diffusion's sample_dpm_2: the derivative of the middle. */
function dpm2Step(step: Step): Next {
  if (step.base === null) return firstHalf(step);
  const [from, middle, to] = neighbours(step);
  return { latents: bySlope(step, middle, to - from), base: null };
}

/** The same with ancestral noise (k-diffusion, sample_dpm_2_ancestral). */
function dpm2AncestralStep(step: Step): Next {
  if (step.base === null) return firstHalf(step);
  const [from, middle, to] = neighbours(step);
  const { up, down } = ancestral(from, to);
  return { latents: sum([1, bySlope(step, middle, down - from)], [up, step.draw()]), base: null };
}

/** DPM-Solver++(2S) with ancestral noise (k-diffusion, sample_dpmpp_2s_ancestral). */
function dpmpp2sAncestralStep(step: Step): Next {
  if (step.base === null) return firstHalf(step);
  const [from, , to] = neighbours(step);
  const { up, down } = ancestral(from, to);
  return { latents: sum([1, along(step.base, x0Of(step), from, down)], [up, step.draw()]), base: null };
}

/** SDE-DPM-Solver++ with r = 1/2 (k-diffusion, sample_dpmpp_sde), each noise drawn anew, not from one Brownian path. */
function dpmppSdeStep(step: Step): Next {
  const { schedule, i, latents } = step;
  if (step.base !== null) return dpmpp2sAncestralStep(step);
  const [from, to] = [schedule.sigmas[i]!, schedule.sigmas[i + 1]!];
  if (to === 0) return firstHalf(step);
  const { up, down } = ancestral(from, to);
  return { latents: sum([1, along(latents, x0Of(step), from, down)], [up, step.draw()]), base: latents };
}

const neighbours = ({ schedule, i }: Step) => schedule.sigmas.slice(i - 1, i + 2) as [number, number, number];

/** From where the step began, by `width` along the derivative at σ `middle`. */
function bySlope(step: Step, middle: number, width: number): Float32Array {
  const slope = width / middle;
  return sum([1, step.base!], [slope, step.latents], [-slope, x0Of(step)]);
}

/** Levels in between are told by timesteps of training alone. */
const OVER_EULER: SchedulerClass = { ...EULER, keys: EULER.keys.filter((key) => key !== "timestep_type") };

const kdpm2 = (className: string): SchedulerClass => ({
  className,
  keys: [...BETAS, ...SIGMAS],
  defaults: { timestep_spacing: "linspace", beta_start: 0.00085, beta_end: 0.012 },
});

export const dpm2: Algorithm = {
  scheduler: kdpm2("KDPM2DiscreteScheduler"),
  order: 2,
  schedule: kdpm2Schedule(geometricMean),
  next: dpm2Step,
};

export const dpm2Ancestral: Algorithm = {
  scheduler: kdpm2("KDPM2AncestralDiscreteScheduler"),
  order: 2,
  schedule: kdpm2Schedule(ancestralMean),
  next: dpm2AncestralStep,
};

export const dpmpp2sAncestral: Algorithm = {
  scheduler: OVER_EULER,
  order: 2,
  schedule: (config, count) => pairedSchedule(config, count, ancestralMean),
  next: dpmpp2sAncestralStep,
};

export const dpmppSde: Algorithm = {
  scheduler: OVER_EULER,
  order: 2,
  schedule: (config, count) => pairedSchedule(config, count, geometricMean),
  next: dpmppSdeStep,
};
