/** Samplers for EDM models: continuous noise levels, and a network whose input, output and level are scaled by σ_data. */
import { linspace } from "../schedule.ts";
import { DPM_ALGORITHMS, type Key, type SchedulerConfig, THRESHOLDING } from "../scheduler-config.ts";
import { karrasSigmas } from "../sigmas.ts";
import { dpmSolverStep } from "./dpm-solver.ts";
import { eulerStep } from "./euler.ts";
import { type Algorithm, type NoiseLevel, type Schedule, sum, type X0 } from "./step.ts";

const f32 = Math.fround;

/** Karras et al. 2022 (arXiv:2206.00364), table 1: c_skip and c_out; the network predicts no image by itself. */
function preconditioning(sigmaData: number): typeof X0 {
  const denoised = (sign: 1 | -1) => (level: NoiseLevel, x: Float32Array, output: Float32Array) =>
    sum([(sigmaData / level.norm) ** 2, x], [(sign * level.sigma * sigmaData) / level.norm, output]);
  return { epsilon: denoised(1), v_prediction: denoised(-1), sample: (_level, _x, output) => output };
}

const SIGMA_SCHEDULES = {
  karras: (max, min, count, rho) => karrasSigmas(max, min, count, rho),
  // The other way round: a single one is the lowest.
  exponential: (max, min, count) => linspace(Math.log(min), Math.log(max), count).map(Math.exp).reverse(),
} satisfies Record<
  SchedulerConfig["sigma_schedule"],
  (max: number, min: number, count: number, rho: number) => number[]
>;

function edmSchedule(config: SchedulerConfig, count: number): Schedule {
  const { sigma_data: data, rho } = config;
  const [max, min] = [config.sigma_max!, config.sigma_min!];
  const sigmas = SIGMA_SCHEDULES[config.sigma_schedule](max, min, count, rho).map(f32);
  const all = [...sigmas, config.final_sigmas_type === "sigma_min" ? sigmas.at(-1)! : 0];
  return {
    timesteps: sigmas.map((sigma) => f32(0.25 * f32(Math.log(sigma)))),
    levels: all.map((sigma) => ({ alpha: 1, sigma, norm: Math.sqrt(sigma ** 2 + data ** 2) })),
    initNoiseSigma: Math.sqrt(max ** 2 + 1),
    alphas: [],
    sigmas: all,
    x0: preconditioning(data),
  };
}

const KEYS = [
  "num_train_timesteps",
  "prediction_type",
  "sigma_min",
  "sigma_max",
  "sigma_data",
  "sigma_schedule",
  "rho",
  "final_sigmas_type",
] as const satisfies readonly Key[];
const defaults = { sigma_min: 0.002, sigma_max: 80 };

export const edmEuler: Algorithm = {
  scheduler: { className: "EDMEulerScheduler", keys: KEYS, defaults },
  order: 1,
  schedule: edmSchedule,
  next: eulerStep,
};

export const edmDpmSolver: Algorithm = {
  scheduler: {
    className: "EDMDPMSolverMultistepScheduler",
    keys: [
      ...KEYS,
      "solver_order",
      ...THRESHOLDING,
      "algorithm_type",
      "solver_type",
      "lower_order_final",
      "euler_at_final",
    ],
    defaults,
    algorithms: DPM_ALGORITHMS,
  },
  order: 1,
  schedule: edmSchedule,
  next: dpmSolverStep,
};
