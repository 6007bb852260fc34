/**
 * Every sampler as a pure function from state and model output to state. A state is plain data of one picture; nothing
 * of a generation hides anywhere else, so it can be stored, moved and gone on with after any network evaluation.
 * Arithmetic follows huggingface/diffusers, src/diffusers/schedulers.
 */

import type { SchedulerName } from "../schema/schedulers.ts";
import { ddim, ddpm, lcm } from "./samplers/ddim.ts";
import { dpmSolver } from "./samplers/dpm-solver.ts";
import { euler, eulerAncestral, heun } from "./samplers/euler.ts";
import { pndm } from "./samplers/pndm.ts";
import { type Algorithm, type SamplerState, StepCountError, sum, X0 } from "./samplers/step.ts";
import { unipc } from "./samplers/unipc.ts";
import { mostSteps, schedulerConfig } from "./scheduler-config.ts";

export { type SamplerState, StepCountError };

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

const ALGORITHMS = {
  ddim,
  ddpm,
  pndm,
  euler,
  euler_karras: euler,
  euler_ancestral: eulerAncestral,
  heun,
  dpmpp_2m: dpmSolver,
  dpmpp_2m_karras: dpmSolver,
  dpmpp_2m_sde_karras: dpmSolver,
  unipc,
  lcm,
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
  const most = mostSteps(name, config);
  if (numInferenceSteps > most) {
    throw new StepCountError(`${numInferenceSteps} steps, but ${name} takes ${most} of this model at most`);
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
    start: (latents) => ({ step: 0, latents, history: [], base: null }),
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
