/**
 * What a checkpoint's scheduler_config.json says, read as diffusers reads it: a scheduler takes the keys it knows and
 * its own defaults for the rest. A known key with a value that this project does not carry out is refused by name.
 * Source of keys and defaults: huggingface/diffusers, the `__init__` of each class in src/diffusers/schedulers.
 */
import { z } from "zod";
import { PREDICTION_TYPES } from "../schema/schedulers.ts";

/** A scheduler_config.json that cannot be carried out; `key` and `value` are what it says. */
export class SchedulerConfigError extends Error {
  readonly key: string;
  readonly value: unknown;
  constructor(key: string, value: unknown, reason: string) {
    super(`scheduler_config.json: ${key} ${JSON.stringify(value)} ${reason}`);
    this.name = "SchedulerConfigError";
    this.key = key;
    this.value = value;
  }
}

/** A parsed scheduler_config.json. */
export type RawConfig = Readonly<Record<string, unknown>>;

const off = z.literal(false);

/** A noise schedule of more would take a worker's memory. */
const MOST_TIMESTEPS = 100_000;

const schema = z.object({
  num_train_timesteps: z.int().positive().max(MOST_TIMESTEPS),
  beta_start: z.number(),
  beta_end: z.number(),
  beta_schedule: z.enum(["linear", "scaled_linear", "squaredcos_cap_v2"]),
  trained_betas: z.array(z.number()).nonempty().nullable(),
  prediction_type: z.enum(PREDICTION_TYPES),
  timestep_spacing: z.enum(["leading", "trailing", "linspace"]),
  steps_offset: z.int(),
  rescale_betas_zero_snr: z.boolean(),
  final_sigmas_type: z.enum(["zero", "sigma_min"]),
  use_karras_sigmas: z.boolean(),
  use_exponential_sigmas: z.boolean(),
  use_beta_sigmas: z.boolean(),
  sigma_min: z.number().nullable(),
  sigma_max: z.number().nullable(),
  sigma_data: z.number().positive(),
  sigma_schedule: z.enum(["karras", "exponential"]),
  rho: z.number().positive(),
  clip_sample: z.boolean(),
  clip_sample_range: z.number(),
  set_alpha_to_one: z.boolean(),
  skip_prk_steps: z.boolean(),
  solver_order: z.int().min(1).max(3),
  /** SA-Solver's */
  predictor_order: z.int().min(1).max(4),
  corrector_order: z.int().min(1).max(4),
  algorithm_type: z.enum(["dpmsolver++", "sde-dpmsolver++", "deis", "data_prediction", "noise_prediction"]),
  /** bh1 and bh2 are UniPC's, midpoint and heun DPM-Solver++'s; each takes the other's as its own default */
  solver_type: z.enum(["midpoint", "heun", "logrho", "bh1", "bh2"]),
  lower_order_final: z.boolean(),
  euler_at_final: z.boolean(),
  lambda_min_clipped: z.number(),
  disable_corrector: z.array(z.int()),
  original_inference_steps: z.int().positive(),
  timestep_scaling: z.number(),
  /** continuous, for a model that predicts v: it is told a quarter of log σ */
  timestep_type: z.enum(["discrete", "continuous"]),
  interpolation_type: z.enum(["linear", "log_linear"]),
  /** DDPM's; the solvers look only for what a network learned */
  variance_type: z.enum(["fixed_small", "fixed_small_log", "fixed_large"]),
  thresholding: z.boolean(),
  dynamic_thresholding_ratio: z.number().min(0).max(1),
  sample_max_value: z.number().positive(),
  use_lu_lambdas: z.boolean(),
  // Known to diffusers, but only carried out at the value that changes nothing.
  predict_x0: z.literal(true),
  solver_p: z.null(),
  use_flow_sigmas: off,
  use_dynamic_shifting: off,
  shift_terminal: z.null(),
});

export type SchedulerConfig = z.infer<typeof schema>;
export type Key = keyof SchedulerConfig;

/** The value of each key that makes a scheduler behave as if it did not know the key. */
const NEUTRAL: SchedulerConfig = {
  num_train_timesteps: 1000,
  beta_start: 0.0001,
  beta_end: 0.02,
  beta_schedule: "linear",
  trained_betas: null,
  prediction_type: "epsilon",
  timestep_spacing: "leading",
  steps_offset: 0,
  rescale_betas_zero_snr: false,
  final_sigmas_type: "zero",
  use_karras_sigmas: false,
  use_exponential_sigmas: false,
  use_beta_sigmas: false,
  sigma_min: null,
  sigma_max: null,
  sigma_data: 0.5,
  sigma_schedule: "karras",
  rho: 7,
  clip_sample: false,
  clip_sample_range: 1,
  set_alpha_to_one: false,
  skip_prk_steps: false,
  solver_order: 2,
  predictor_order: 2,
  corrector_order: 2,
  algorithm_type: "dpmsolver++",
  solver_type: "midpoint",
  lower_order_final: true,
  euler_at_final: false,
  lambda_min_clipped: Number.NEGATIVE_INFINITY,
  disable_corrector: [],
  original_inference_steps: 50,
  timestep_scaling: 10,
  timestep_type: "discrete",
  interpolation_type: "linear",
  variance_type: "fixed_small",
  thresholding: false,
  dynamic_thresholding_ratio: 0.995,
  sample_max_value: 1,
  use_lu_lambdas: false,
  predict_x0: true,
  solver_p: null,
  use_flow_sigmas: false,
  use_dynamic_shifting: false,
  shift_terminal: null,
};

/** A scheduler class of diffusers: the keys it reads, and its defaults where they differ from NEUTRAL. */
export interface SchedulerClass {
  readonly className: string;
  readonly keys: readonly Key[];
  readonly defaults: Partial<SchedulerConfig>;
  /** What it makes of each algorithm_type that it takes; one that is not here it refuses. */
  readonly algorithms?: Readonly<Record<string, SchedulerConfig["algorithm_type"]>>;
}

/** DPM-Solver++'s, of which deis is the older name. */
export const DPM_ALGORITHMS = {
  "dpmsolver++": "dpmsolver++",
  "sde-dpmsolver++": "sde-dpmsolver++",
  deis: "dpmsolver++",
} as const;

/** Keys of every class that works with the betas of training. */
export const BETAS = [
  "num_train_timesteps",
  "beta_start",
  "beta_end",
  "beta_schedule",
  "trained_betas",
  "prediction_type",
  "timestep_spacing",
  "steps_offset",
] as const satisfies readonly Key[];

/** Keys that choose sigmas. sigma_min and sigma_max are read by classes whose constructor does not name them, too. */
export const SIGMAS = [
  "use_karras_sigmas",
  "use_exponential_sigmas",
  "use_beta_sigmas",
  "sigma_min",
  "sigma_max",
] as const satisfies readonly Key[];

/** Keys that bound x₀. */
export const THRESHOLDING = [
  "thresholding",
  "dynamic_thresholding_ratio",
  "sample_max_value",
] as const satisfies readonly Key[];

/** Keys of the solvers of order 2 and 3. They know use_dynamic_shifting too, which without a shift changes nothing. */
export const SOLVER = [
  ...SIGMAS,
  ...THRESHOLDING,
  "solver_order",
  "solver_type",
  "lower_order_final",
  "use_flow_sigmas",
] as const satisfies readonly Key[];

const SPACINGS = ["use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"] as const;

/** The config of one class, out of what a scheduler_config.json of any class says. @throws SchedulerConfigError */
export function readSchedulerConfig(of: SchedulerClass, raw: RawConfig): SchedulerConfig {
  const { className, keys, defaults, algorithms } = of;
  const said: Record<string, unknown> = {};
  for (const key of keys) {
    const value = raw[key];
    if (value === undefined || value === null) continue;
    const isAlgorithm = key === "algorithm_type" && algorithms !== undefined;
    const meant = isAlgorithm ? new Map(Object.entries(algorithms)).get(String(value)) : value;
    const parsed = schema.shape[key].safeParse(meant);
    if (!parsed.success) throw new SchedulerConfigError(key, value, `is not supported by ${className}`);
    said[key] = parsed.data;
  }
  const config: SchedulerConfig = { ...NEUTRAL, ...defaults, ...said };
  // diffusers looks at the name that the config has, not at what it stands for.
  if (raw.algorithm_type === "deis" && algorithms?.deis === "dpmsolver++" && config.final_sigmas_type === "zero") {
    throw new SchedulerConfigError(
      "final_sigmas_type",
      "zero",
      `cannot be had beside algorithm_type deis of ${className}`,
    );
  }
  // diffusers asks there for the level of a timestep that it is not told.
  if (config.algorithm_type === "noise_prediction" && config.thresholding) {
    throw new SchedulerConfigError("thresholding", true, "cannot be had beside algorithm_type noise_prediction");
  }
  const [first, second] = SPACINGS.filter((key) => config[key]);
  if (second !== undefined) throw new SchedulerConfigError(second, true, `cannot be had beside ${first}`);
  return config;
}
