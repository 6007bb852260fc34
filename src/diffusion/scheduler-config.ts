/**
 * What a checkpoint's scheduler_config.json says, read as diffusers reads it: a scheduler takes the keys it knows and
 * its own defaults for the rest. A known key with a value that this project does not carry out is refused by name.
 * Source of keys and defaults: huggingface/diffusers, the `__init__` of each class in src/diffusers/schedulers.
 */
import { z } from "zod";
import { MAX_STEPS } from "../schema/fields.ts";
import { SCHEDULERS, type SchedulerName } from "../schema/schedulers.ts";

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

const off = z.literal(false);

const schema = z.object({
  num_train_timesteps: z.int().positive(),
  beta_start: z.number(),
  beta_end: z.number(),
  beta_schedule: z.enum(["linear", "scaled_linear", "squaredcos_cap_v2"]),
  trained_betas: z.array(z.number()).nonempty().nullable(),
  prediction_type: z.enum(["epsilon", "v_prediction", "sample"]),
  timestep_spacing: z.enum(["leading", "trailing", "linspace"]),
  steps_offset: z.int(),
  rescale_betas_zero_snr: z.boolean(),
  final_sigmas_type: z.enum(["zero", "sigma_min"]),
  use_karras_sigmas: z.boolean(),
  sigma_min: z.number().nullable(),
  sigma_max: z.number().nullable(),
  clip_sample: z.boolean(),
  clip_sample_range: z.number(),
  set_alpha_to_one: z.boolean(),
  skip_prk_steps: z.boolean(),
  solver_order: z.int().min(1).max(3),
  /** 'deis' stands for dpmsolver++ */
  algorithm_type: z.enum(["dpmsolver++", "sde-dpmsolver++", "deis"]),
  /** bh1 and bh2 are UniPC's, midpoint and heun DPM-Solver++'s; each takes the other's as its own default */
  solver_type: z.enum(["midpoint", "heun", "logrho", "bh1", "bh2"]),
  lower_order_final: z.boolean(),
  euler_at_final: z.boolean(),
  lambda_min_clipped: z.number(),
  disable_corrector: z.array(z.int()),
  original_inference_steps: z.int().positive(),
  timestep_scaling: z.number(),
  // Known to diffusers, but only carried out at the value that changes nothing.
  interpolation_type: z.literal("linear"),
  timestep_type: z.literal("discrete"),
  variance_type: z.literal("fixed_small").nullable(),
  predict_x0: z.literal(true),
  solver_p: z.null(),
  thresholding: off,
  use_exponential_sigmas: off,
  use_beta_sigmas: off,
  use_lu_lambdas: off,
  use_flow_sigmas: off,
  use_dynamic_shifting: off,
  shift_terminal: z.null(),
});

export type SchedulerConfig = z.infer<typeof schema>;
type Key = keyof SchedulerConfig;

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
  sigma_min: null,
  sigma_max: null,
  clip_sample: false,
  clip_sample_range: 1,
  set_alpha_to_one: false,
  skip_prk_steps: false,
  solver_order: 2,
  algorithm_type: "dpmsolver++",
  solver_type: "midpoint",
  lower_order_final: true,
  euler_at_final: false,
  lambda_min_clipped: Number.NEGATIVE_INFINITY,
  disable_corrector: [],
  original_inference_steps: 50,
  timestep_scaling: 10,
  interpolation_type: "linear",
  timestep_type: "discrete",
  variance_type: null,
  predict_x0: true,
  solver_p: null,
  thresholding: false,
  use_exponential_sigmas: false,
  use_beta_sigmas: false,
  use_lu_lambdas: false,
  use_flow_sigmas: false,
  use_dynamic_shifting: false,
  shift_terminal: null,
};

const COMMON = [
  "num_train_timesteps",
  "beta_start",
  "beta_end",
  "beta_schedule",
  "trained_betas",
  "prediction_type",
  "timestep_spacing",
  "steps_offset",
] as const;
// sigma_min and sigma_max are read wherever Karras sigmas are, also by classes whose constructor does not name them.
const SPACING = [
  "use_karras_sigmas",
  "sigma_min",
  "sigma_max",
  "use_exponential_sigmas",
  "use_beta_sigmas",
  "interpolation_type",
] as const;
const SOLVER = [
  ...SPACING,
  "rescale_betas_zero_snr",
  "final_sigmas_type",
  "solver_order",
  "solver_type",
  "lower_order_final",
  "thresholding",
  "use_flow_sigmas",
  "use_dynamic_shifting",
] as const;

/** `defaults`: where the class differs from NEUTRAL. `predicts`: the prediction types that it has a formula for. */
interface SchedulerClassEntry {
  keys: readonly Key[];
  defaults: Partial<SchedulerConfig>;
  predicts: readonly SchedulerConfig["prediction_type"][];
}
const ANY = ["epsilon", "v_prediction", "sample"] as const;
const NO_SAMPLE = ["epsilon", "v_prediction"] as const;

const CLASSES = {
  DDIMScheduler: {
    keys: [...COMMON, "rescale_betas_zero_snr", "clip_sample", "clip_sample_range", "set_alpha_to_one", "thresholding"],
    defaults: { clip_sample: true, set_alpha_to_one: true },
    predicts: ANY,
  },
  DDPMScheduler: {
    keys: [...COMMON, "rescale_betas_zero_snr", "clip_sample", "clip_sample_range", "variance_type", "thresholding"],
    defaults: { clip_sample: true },
    predicts: ANY,
  },
  PNDMScheduler: { keys: [...COMMON, "skip_prk_steps", "set_alpha_to_one"], defaults: {}, predicts: NO_SAMPLE },
  EulerDiscreteScheduler: {
    keys: [...COMMON, ...SPACING, "rescale_betas_zero_snr", "final_sigmas_type", "timestep_type"],
    defaults: { timestep_spacing: "linspace" },
    predicts: ANY,
  },
  EulerAncestralDiscreteScheduler: {
    keys: [...COMMON, "rescale_betas_zero_snr"],
    defaults: { timestep_spacing: "linspace" },
    predicts: NO_SAMPLE,
  },
  HeunDiscreteScheduler: {
    keys: [...COMMON, ...SPACING, "clip_sample", "clip_sample_range"],
    defaults: { timestep_spacing: "linspace", beta_start: 0.00085, beta_end: 0.012 },
    predicts: ANY,
  },
  DPMSolverMultistepScheduler: {
    keys: [
      ...COMMON,
      ...SOLVER,
      "algorithm_type",
      "euler_at_final",
      "lambda_min_clipped",
      "variance_type",
      "use_lu_lambdas",
    ],
    defaults: { timestep_spacing: "linspace" },
    predicts: ANY,
  },
  UniPCMultistepScheduler: {
    keys: [...COMMON, ...SOLVER, "predict_x0", "disable_corrector", "solver_p", "shift_terminal"],
    defaults: { timestep_spacing: "linspace", solver_type: "bh2" },
    predicts: ANY,
  },
  LCMScheduler: {
    keys: [
      ...COMMON,
      "rescale_betas_zero_snr",
      "clip_sample",
      "clip_sample_range",
      "set_alpha_to_one",
      "original_inference_steps",
      "timestep_scaling",
      "thresholding",
    ],
    defaults: { beta_start: 0.00085, beta_end: 0.012, beta_schedule: "scaled_linear", set_alpha_to_one: true },
    predicts: ANY,
  },
} as const satisfies Record<string, SchedulerClassEntry>;

export type SchedulerClass = keyof typeof CLASSES;

/** The API's names: a class of diffusers and what the name itself settles, whatever the config says. */
const NAMES = {
  ddim: { className: "DDIMScheduler", sets: {} },
  ddpm: { className: "DDPMScheduler", sets: {} },
  pndm: { className: "PNDMScheduler", sets: { skip_prk_steps: true } },
  euler: { className: "EulerDiscreteScheduler", sets: { use_karras_sigmas: false } },
  euler_karras: { className: "EulerDiscreteScheduler", sets: { use_karras_sigmas: true } },
  euler_ancestral: { className: "EulerAncestralDiscreteScheduler", sets: {} },
  heun: { className: "HeunDiscreteScheduler", sets: {} },
  dpmpp_2m: {
    className: "DPMSolverMultistepScheduler",
    sets: { algorithm_type: "dpmsolver++", use_karras_sigmas: false },
  },
  dpmpp_2m_karras: {
    className: "DPMSolverMultistepScheduler",
    sets: { algorithm_type: "dpmsolver++", use_karras_sigmas: true },
  },
  dpmpp_2m_sde_karras: {
    className: "DPMSolverMultistepScheduler",
    sets: { algorithm_type: "sde-dpmsolver++", use_karras_sigmas: true },
  },
  unipc: { className: "UniPCMultistepScheduler", sets: {} },
  lcm: { className: "LCMScheduler", sets: {} },
} as const satisfies Record<SchedulerName, { className: SchedulerClass; sets: Partial<SchedulerConfig> }>;

function readAs(className: SchedulerClass, raw: Readonly<Record<string, unknown>>): SchedulerConfig {
  const { keys, defaults, predicts }: SchedulerClassEntry = CLASSES[className];
  const said: Record<string, unknown> = {};
  for (const key of keys) {
    const value = raw[key];
    if (value === undefined || value === null) continue;
    const parsed = schema.shape[key].safeParse(value);
    if (!parsed.success) throw new SchedulerConfigError(key, value, `is not supported by ${className}`);
    said[key] = parsed.data;
  }
  const config: SchedulerConfig = { ...NEUTRAL, ...defaults, ...said };
  if (!predicts.includes(config.prediction_type)) {
    throw new SchedulerConfigError("prediction_type", config.prediction_type, `is not supported by ${className}`);
  }
  return config;
}

/**
 * The config that the scheduler called `name` runs with, from a parsed scheduler_config.json of any class.
 * Throws SchedulerConfigError for a value that would change the picture and is not carried out.
 */
export function schedulerConfig(name: SchedulerName, raw: Readonly<Record<string, unknown>>): SchedulerConfig {
  const { className, sets } = NAMES[name];
  return readAs(className, { ...raw, ...sets });
}

/**
 * The API's name for the scheduler that a scheduler_config.json is written for (`_class_name`).
 * Throws SchedulerConfigError when no name of the API stands for it.
 */
export function ownScheduler(raw: Readonly<Record<string, unknown>>): SchedulerName {
  const className = raw._class_name;
  const own = Object.keys(CLASSES).find((known): known is SchedulerClass => known === className);
  if (own === undefined) throw new SchedulerConfigError("_class_name", className, "is not supported");
  const config = readAs(own, raw);
  if (config.algorithm_type === "deis") config.algorithm_type = "dpmsolver++";
  for (const name of Object.keys(NAMES) as SchedulerName[]) {
    const { className: ofName, sets } = NAMES[name];
    if (ofName === own && Object.entries(sets).every(([key, value]) => config[key as Key] === value)) return name;
  }
  if (own === "PNDMScheduler") {
    throw new SchedulerConfigError("skip_prk_steps", config.skip_prk_steps, "is not supported: Runge-Kutta steps");
  }
  throw new SchedulerConfigError("algorithm_type", config.algorithm_type, "is not supported without use_karras_sigmas");
}

/** A scheduler_config.json as it stands. */
export type RawConfig = Readonly<Record<string, unknown>>;

/** The class of diffusers that carries a scheduler out. */
export const classOf = (name: SchedulerName): SchedulerClass => NAMES[name].className;

/** A config as the class reads it that it is written for; null where that is none of those carried out. */
export function readOwn(
  raw: RawConfig,
): { className: SchedulerClass; keys: readonly string[]; config: SchedulerConfig } | null {
  try {
    const className = classOf(ownScheduler(raw));
    return { className, keys: CLASSES[className].keys, config: readAs(className, raw) };
  } catch {
    return null;
  }
}

/** Other classes of diffusers whose noise is that of the schedulers offered, so that another sampler can go its way. */
const SAME_NOISE: ReadonlySet<unknown> = new Set([
  ...[
    "DEISMultistepScheduler",
    "DPMSolverSDEScheduler",
    "DPMSolverSinglestepScheduler",
    "KDPM2AncestralDiscreteScheduler",
  ],
  ...["KDPM2DiscreteScheduler", "LMSDiscreteScheduler", "SASolverScheduler", "TCDScheduler"],
]);

/** Taken, the first that a checkpoint's config allows, where its own scheduler is none of those offered. */
const FALLBACKS: readonly SchedulerName[] = ["dpmpp_2m", "ddim"];

/** The scheduler that a request without one gets, and what to say about it. */
export function defaultScheduler(raw: Readonly<Record<string, unknown>>): {
  scheduler: SchedulerName;
  warnings: string[];
} {
  try {
    return { scheduler: ownScheduler(raw), warnings: [] };
  } catch (error) {
    const known = raw._class_name as string;
    const sameNoise = known === undefined || known in CLASSES || SAME_NOISE.has(known);
    const scheduler = FALLBACKS.find((name) => configIfAllowed(raw, name) !== undefined);
    if (!(error instanceof SchedulerConfigError) || scheduler === undefined || !sameNoise) {
      throw error;
    }
    return { scheduler, warnings: [`${error.message}; "${scheduler}" is the default instead`] };
  }
}

/** The most num_inference_steps that a scheduler can choose from the timesteps of training; lcm, from those it was distilled for. */
export function mostSteps(name: SchedulerName, config: SchedulerConfig): number {
  const { num_train_timesteps: trained, original_inference_steps: distilled } = config;
  return name !== "lcm" ? trained : distilled <= trained ? distilled : 0;
}

/** The schedulers that a checkpoint's config allows, and how many num_inference_steps each can take. */
export function allowedSchedulers(
  raw: Readonly<Record<string, unknown>>,
): { id: SchedulerName; max_inference_steps: number }[] {
  return SCHEDULERS.flatMap((id) => {
    const config = configIfAllowed(raw, id);
    const most = config === undefined ? 0 : mostSteps(id, config);
    return most > 0 ? [{ id, max_inference_steps: Math.min(most, MAX_STEPS) }] : [];
  });
}

function configIfAllowed(raw: Readonly<Record<string, unknown>>, name: SchedulerName): SchedulerConfig | undefined {
  try {
    return schedulerConfig(name, raw);
  } catch {
    return undefined;
  }
}
