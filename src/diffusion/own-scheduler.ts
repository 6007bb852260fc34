/** Which schedulers a checkpoint's scheduler_config.json allows, and which is its own. */

import { MAX_STEPS } from "../schema/fields.ts";
import { SCHEDULERS, type SchedulerName } from "../schema/schedulers.ts";
import type { LoadedModel } from "./model.ts";
import {
  type Key,
  type RawConfig,
  readSchedulerConfig,
  type SchedulerConfig,
  SchedulerConfigError,
} from "./scheduler-config.ts";
import { classNameOf, rowOf, schedulerConfig } from "./scheduler-table.ts";

/**
 * The API's name for the scheduler that a scheduler_config.json is written for (`_class_name`).
 * @throws SchedulerConfigError when no name of the API stands for it
 */
export function ownScheduler(raw: RawConfig): SchedulerName {
  const named = SCHEDULERS.filter((name) => rowOf(name).algorithm.scheduler.className === classNameOf(raw));
  if (named.length === 0) throw new SchedulerConfigError("_class_name", raw._class_name, "is not supported");
  const config = readSchedulerConfig(rowOf(named[0]!).algorithm.scheduler, raw);
  const own = named.find((name) => isSettled(name, config));
  if (own !== undefined) {
    schedulerConfig(own, raw);
    return own;
  }
  if (!config.skip_prk_steps && named.includes("pndm")) {
    throw new SchedulerConfigError("skip_prk_steps", config.skip_prk_steps, "is not supported: Runge-Kutta steps");
  }
  throw new SchedulerConfigError("algorithm_type", config.algorithm_type, `is not supported by ${raw._class_name}`);
}

/** Whether a config says what the name itself settles. */
const isSettled = (name: SchedulerName, config: SchedulerConfig) =>
  Object.entries(rowOf(name).sets).every(([key, value]) => config[key as Key] === value);

/** Of classes that are not carried out, what computes the same but for the noise: theirs is of one Brownian path, of a random seed. */
const BUT_FOR_NOISE: ReadonlyMap<unknown, readonly SchedulerName[]> = new Map([
  ["DPMSolverSDEScheduler", ["dpmpp_sde", "dpmpp_sde_karras"]],
]);

const sameButForNoise = (raw: RawConfig) =>
  BUT_FOR_NOISE.get(raw._class_name)?.find((name) => {
    const isAllowed = configIfAllowed(raw, name) !== undefined;
    return isAllowed && isSettled(name, readSchedulerConfig(rowOf(name).algorithm.scheduler, raw));
  });

/** Taken, the first that a checkpoint's config allows, where its own scheduler is none of those offered. */
const FALLBACKS: readonly SchedulerName[] = ["dpmpp_2m", "ddim", "euler", "edm_dpmpp_2m"];

/**
 * The scheduler that a request without one gets, and what to say about it.
 * @throws SchedulerConfigError when none of those offered works over the model's noise schedule, or its own is told what is not carried out
 */
export function defaultScheduler(raw: RawConfig): { scheduler: SchedulerName; warnings: string[] } {
  try {
    return { scheduler: ownScheduler(raw), warnings: [] };
  } catch (error) {
    const scheduler = sameButForNoise(raw) ?? FALLBACKS.find((name) => configIfAllowed(raw, name) !== undefined);
    const isClass = error instanceof SchedulerConfigError && error.key === "_class_name";
    if (!isClass || scheduler === undefined) throw error;
    return { scheduler, warnings: [`${error.message}; "${scheduler}" is the default instead`] };
  }
}

/** What was assumed of a model that a request does not settle: of its own scheduler, where it runs with that, and of its prediction. */
export function assumedFor(
  { scheduler: raw, assumed }: Pick<LoadedModel, "scheduler" | "assumed">,
  request: { scheduler: SchedulerName; prediction_type: unknown },
): string[] {
  const { scheduler, warnings } = defaultScheduler(raw);
  return [
    ...(assumed !== null && request.prediction_type === null ? [assumed] : []),
    ...(request.scheduler === scheduler ? warnings : []),
  ];
}

/** Schedulers that choose among the timesteps that the model was distilled for. */
const DISTILLED: readonly SchedulerName[] = ["lcm", "tcd"];

/** The most num_inference_steps that a scheduler can choose from the timesteps of training, or of distillation. */
export function mostSteps(name: SchedulerName, config: SchedulerConfig): number {
  const { num_train_timesteps: trained, original_inference_steps: distilled } = config;
  return !DISTILLED.includes(name) ? trained : distilled <= trained ? distilled : 0;
}

/** The schedulers that a checkpoint's config allows, and how many num_inference_steps each can take. */
export function allowedSchedulers(raw: RawConfig): { id: SchedulerName; max_inference_steps: number }[] {
  return SCHEDULERS.flatMap((id) => {
    const config = configIfAllowed(raw, id);
    const most = config === undefined ? 0 : mostSteps(id, config);
    return most > 0 ? [{ id, max_inference_steps: Math.min(most, MAX_STEPS) }] : [];
  });
}

function configIfAllowed(raw: RawConfig, name: SchedulerName): SchedulerConfig | undefined {
  try {
    return schedulerConfig(name, raw);
  } catch {
    return undefined;
  }
}
