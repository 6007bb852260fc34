/** Samplers and schedule types by the web UI's names: two names there, one here. */
import { schedulerCalled } from "../../../schema/scheduler-names.ts";
import { SCHEDULERS, type SchedulerName } from "../../../schema/schedulers.ts";
import { refuseA1111 } from "./refuse.ts";

/** What the web UI calls our samplers without their schedule; the others go by our own name. */
const LABELS: Partial<Record<SchedulerName, string>> = {
  euler: "Euler",
  euler_ancestral: "Euler a",
  heun: "Heun",
  lms: "LMS",
  dpm2: "DPM2",
  dpm2_ancestral: "DPM2 a",
  dpmpp_2m: "DPM++ 2M",
  dpmpp_sde: "DPM++ SDE",
  dpmpp_2m_sde: "DPM++ 2M SDE",
  dpmpp_2s_ancestral: "DPM++ 2S a",
  unipc: "UniPC",
  lcm: "LCM",
  ddim: "DDIM",
  pndm: "PLMS",
};

/** Schedule types that there are here: what they add to a sampler's name. */
const SCHEDULES = {
  uniform: { label: "Uniform", suffix: "" },
  karras: { label: "Karras", suffix: "_karras" },
  exponential: { label: "Exponential", suffix: "_exponential" },
  beta: { label: "Beta", suffix: "_beta" },
} as const;
type Schedule = keyof typeof SCHEDULES;

/** Samplers that the web UI runs with Karras' sigmas when the schedule type is Automatic. */
const KARRAS_BY_ITSELF: ReadonlySet<string> = new Set(["dpmpp_2m", "dpmpp_sde"]);

const SUFFIX = /_(karras|exponential|beta)$/;
const baseOf = (name: SchedulerName) => name.replace(SUFFIX, "");
const isScheduler = (name: string): name is SchedulerName => (SCHEDULERS as readonly string[]).includes(name);

const offeredSamplers = SCHEDULERS.filter((name) => !SUFFIX.test(name));
const nameOf = (scheduler: SchedulerName) => LABELS[scheduler] ?? scheduler;

/**
 * The scheduler that a sampler and a schedule type stand for.
 * @param sampler such as "DPM++ 2M" or, as older versions of the web UI have it, "DPM++ 2M Karras"
 * @param schedule such as "Karras"; absent and "Automatic" = the sampler's own
 * @throws {Refused} naming what there is
 */
export function schedulerOf(sampler: string, schedule: string | null | undefined): SchedulerName {
  const called = schedulerCalled(sampler);
  if (called === undefined) {
    const all = offeredSamplers.map(nameOf).join(", ");
    throw refuseA1111("sampler_name", `there is no sampler ${JSON.stringify(sampler.slice(0, 100))}; there are ${all}`);
  }
  const wanted = (schedule ?? "").trim().toLowerCase();
  const base = baseOf(called);
  if (wanted === "" || wanted === "automatic") {
    return called === base && KARRAS_BY_ITSELF.has(base) ? (`${base}_karras` as SchedulerName) : called;
  }
  if (!Object.hasOwn(SCHEDULES, wanted)) {
    const all = Object.values(SCHEDULES).map(({ label }) => label);
    const message = `there is no schedule type ${JSON.stringify(schedule!.slice(0, 100))}; there are Automatic, ${all.join(", ")}`;
    throw refuseA1111("scheduler", message);
  }
  const name = `${base}${SCHEDULES[wanted as Schedule].suffix}`;
  if (isScheduler(name)) return name;
  const has = SCHEDULERS.filter((one) => baseOf(one) === base).map(scheduleLabel);
  throw refuseA1111(
    "scheduler",
    `${sampler.slice(0, 100)} is not there with ${schedule}; it is with ${has.join(", ")}`,
  );
}

/** The sampler's name in the web UI, without its schedule. */
export const samplerLabel = (scheduler: SchedulerName): string => nameOf(baseOf(scheduler) as SchedulerName);

/** The schedule type's name in the web UI. */
export function scheduleLabel(scheduler: SchedulerName): string {
  const schedule = (SUFFIX.exec(scheduler)?.[1] ?? "uniform") as Schedule;
  return SCHEDULES[schedule].label;
}

/** `GET /sdapi/v1/samplers`. */
export const samplers = offeredSamplers.map((scheduler) => ({
  name: nameOf(scheduler),
  aliases: [scheduler, `k_${scheduler}`],
  options: { scheduler: KARRAS_BY_ITSELF.has(scheduler) ? "karras" : "uniform" },
}));

/** `GET /sdapi/v1/schedulers`. */
export const schedulers = [
  { name: "automatic", label: "Automatic" },
  ...Object.entries(SCHEDULES).map(([name, { label }]) => ({ name, label })),
].map((one) => ({ ...one, aliases: null, default_rho: -1, need_inner_model: false }));
