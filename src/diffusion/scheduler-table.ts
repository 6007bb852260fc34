/** What each scheduler of the API computes, a row each: a sampler, and what the name itself settles, whatever a config says. */
import { SCHEDULER_FACTS, type SchedulerName } from "../schema/schedulers.ts";
import { lcm, tcd } from "./samplers/consistency.ts";
import { ddim, ddpm } from "./samplers/ddim.ts";
import { deis } from "./samplers/deis.ts";
import { dpmSolver } from "./samplers/dpm-solver.ts";
import { edmDpmSolver, edmEuler } from "./samplers/edm.ts";
import { euler, eulerAncestral, heun } from "./samplers/euler.ts";
import { lms } from "./samplers/lms.ts";
import { pndm } from "./samplers/pndm.ts";
import { saSolver } from "./samplers/sa-solver.ts";
import { dpm2, dpm2Ancestral, dpmpp2sAncestral, dpmppSde } from "./samplers/second-order.ts";
import { singlestep } from "./samplers/singlestep.ts";
import type { Algorithm } from "./samplers/step.ts";
import { unipc } from "./samplers/unipc.ts";
import { type RawConfig, readSchedulerConfig, type SchedulerConfig, SchedulerConfigError } from "./scheduler-config.ts";

interface Row {
  readonly algorithm: Algorithm;
  readonly sets: Partial<SchedulerConfig>;
}

const OF_TIMESTEPS = { use_karras_sigmas: false, use_exponential_sigmas: false, use_beta_sigmas: false };
const KARRAS = { ...OF_TIMESTEPS, use_karras_sigmas: true };
const EXPONENTIAL = { ...OF_TIMESTEPS, use_exponential_sigmas: true };
const BETA = { ...OF_TIMESTEPS, use_beta_sigmas: true };
const ODE = { algorithm_type: "dpmsolver++" } as const;
const SDE = { algorithm_type: "sde-dpmsolver++" } as const;

export const SCHEDULER_TABLE = {
  ddim: { algorithm: ddim, sets: {} },
  ddpm: { algorithm: ddpm, sets: {} },
  pndm: { algorithm: pndm, sets: { skip_prk_steps: true } },
  euler: { algorithm: euler, sets: OF_TIMESTEPS },
  euler_karras: { algorithm: euler, sets: KARRAS },
  euler_exponential: { algorithm: euler, sets: EXPONENTIAL },
  euler_beta: { algorithm: euler, sets: BETA },
  euler_ancestral: { algorithm: eulerAncestral, sets: {} },
  heun: { algorithm: heun, sets: {} },
  lms: { algorithm: lms, sets: { use_karras_sigmas: false } },
  lms_karras: { algorithm: lms, sets: KARRAS },
  deis: { algorithm: deis, sets: {} },
  dpm2: { algorithm: dpm2, sets: {} },
  dpm2_ancestral: { algorithm: dpm2Ancestral, sets: {} },
  dpmpp_2s: { algorithm: singlestep, sets: ODE },
  dpmpp_2s_ancestral: { algorithm: dpmpp2sAncestral, sets: OF_TIMESTEPS },
  dpmpp_sde: { algorithm: dpmppSde, sets: OF_TIMESTEPS },
  dpmpp_sde_karras: { algorithm: dpmppSde, sets: KARRAS },
  dpmpp_2m: { algorithm: dpmSolver, sets: { ...ODE, use_karras_sigmas: false } },
  dpmpp_2m_karras: { algorithm: dpmSolver, sets: { ...ODE, ...KARRAS } },
  dpmpp_2m_sde: { algorithm: dpmSolver, sets: { ...SDE, use_karras_sigmas: false } },
  dpmpp_2m_sde_karras: { algorithm: dpmSolver, sets: { ...SDE, ...KARRAS } },
  dpmpp_3m: { algorithm: dpmSolver, sets: { ...ODE, use_karras_sigmas: false, solver_order: 3 } },
  unipc: { algorithm: unipc, sets: {} },
  sa_solver: { algorithm: saSolver, sets: {} },
  lcm: { algorithm: lcm, sets: {} },
  tcd: { algorithm: tcd, sets: {} },
  edm_euler: { algorithm: edmEuler, sets: {} },
  edm_dpmpp_2m: { algorithm: edmDpmSolver, sets: ODE },
} as const satisfies Record<SchedulerName, Row>;

const ROWS: Readonly<Record<SchedulerName, Row>> = SCHEDULER_TABLE;

export const rowOf = (name: SchedulerName): Row => ROWS[name];

/** Classes that are not carried out, but work over the same noise schedule as the others: another sampler may take their place. */
const SAME_NOISE = ["DPMSolverSDEScheduler"];

/** Classes that compute step by step what another does. */
const SAME_STEPS: ReadonlyMap<unknown, string> = new Map([
  ["DDIMParallelScheduler", "DDIMScheduler"],
  ["DDPMParallelScheduler", "DDPMScheduler"],
]);

/** The class that a scheduler_config.json is written for. */
export const classNameOf = ({ _class_name: name }: RawConfig): unknown => SAME_STEPS.get(name) ?? name;

/** The noise schedule of a checkpoint's own class. @throws SchedulerConfigError for one that no scheduler here works over */
function noiseOf(raw: RawConfig): "betas" | "edm" {
  const className = classNameOf(raw);
  if (className === undefined || SAME_NOISE.includes(className as string)) return "betas";
  const own = Object.entries(SCHEDULER_TABLE).find(([, { algorithm }]) => algorithm.scheduler.className === className);
  if (own === undefined) throw new SchedulerConfigError("_class_name", className, "is not supported");
  return SCHEDULER_FACTS[own[0] as SchedulerName].noise;
}

/** Refuses to run a model over another noise schedule than the one that it was trained for. @throws SchedulerConfigError */
function requireSameNoise(name: SchedulerName, raw: RawConfig): void {
  if (noiseOf(raw) !== SCHEDULER_FACTS[name].noise) {
    throw new SchedulerConfigError("_class_name", raw._class_name, `is of another noise schedule than ${name}`);
  }
  if (raw.use_flow_sigmas === true) {
    throw new SchedulerConfigError("use_flow_sigmas", true, "is not supported: flow matching");
  }
  const { keys } = rowOf(name).algorithm.scheduler;
  const continuous = raw.timestep_type === "continuous" && raw.prediction_type === "v_prediction";
  if (continuous && !keys.includes("timestep_type")) {
    throw new SchedulerConfigError("timestep_type", raw.timestep_type, `is not supported by ${name}`);
  }
}

/**
 * The config that the scheduler called `name` runs with, from a parsed scheduler_config.json of any class.
 * @throws SchedulerConfigError for a value that would change the picture and is not carried out
 */
export function schedulerConfig(name: SchedulerName, raw: RawConfig): SchedulerConfig {
  requireSameNoise(name, raw);
  const { algorithm, sets } = rowOf(name);
  const config = readSchedulerConfig(algorithm.scheduler, { ...raw, ...sets });
  if (!SCHEDULER_FACTS[name].prediction_types.includes(config.prediction_type)) {
    const reason = `is not supported by ${algorithm.scheduler.className}`;
    throw new SchedulerConfigError("prediction_type", config.prediction_type, reason);
  }
  return config;
}
