/** What schedulers are called elsewhere: in diffusers (classes), in AUTOMATIC1111's web UI and in ComfyUI. */
import { z } from "zod";
import { isSlip } from "./field-names.ts";
import { type SchedulerName as Name, SCHEDULERS } from "./schedulers.ts";

/** Spellings without capitals, blanks and signs but "+", as `plain` makes them. */
const SPELLINGS: Readonly<Record<string, Name>> = {
  // diffusers
  ddimscheduler: "ddim",
  ddimparallelscheduler: "ddim",
  ddpmscheduler: "ddpm",
  ddpmparallelscheduler: "ddpm",
  pndmscheduler: "pndm",
  eulerdiscretescheduler: "euler",
  eulerancestraldiscretescheduler: "euler_ancestral",
  heundiscretescheduler: "heun",
  lmsdiscretescheduler: "lms",
  deismultistepscheduler: "deis",
  kdpm2discretescheduler: "dpm2",
  kdpm2ancestraldiscretescheduler: "dpm2_ancestral",
  dpmsolversinglestepscheduler: "dpmpp_2s",
  dpmsolversdescheduler: "dpmpp_sde",
  dpmsolvermultistepscheduler: "dpmpp_2m",
  dpmsolvermultistep: "dpmpp_2m",
  unipcmultistepscheduler: "unipc",
  sasolverscheduler: "sa_solver",
  lcmscheduler: "lcm",
  tcdscheduler: "tcd",
  edmeulerscheduler: "edm_euler",
  edmdpmsolvermultistepscheduler: "edm_dpmpp_2m",
  // the web UI, and what others call the same
  eulera: "euler_ancestral",
  keuler: "euler",
  keulera: "euler_ancestral",
  keulerancestral: "euler_ancestral",
  kheun: "heun",
  klms: "lms",
  plms: "pndm",
  dpm2a: "dpm2_ancestral",
  kdpm2: "dpm2",
  kdpm2a: "dpm2_ancestral",
  "dpm++2sa": "dpmpp_2s_ancestral",
  "dpm++": "dpmpp_2m",
  dpmsolver: "dpmpp_2m",
  "dpmsolver++": "dpmpp_2m",
  // ComfyUI
  ddimuniform: "ddim",
  unipcbh2: "unipc",
};

const plain = (name: string) => name.toLowerCase().replace(/[^a-z0-9+]/g, "");
/** The API's own names, spelled with "++", blanks or hyphens. */
const OWN = new Map(
  SCHEDULERS.flatMap((name) => [
    [plain(name), name] as const,
    [plain(name.replace("dpmpp", "dpm++")), name] as const,
    [plain(name.replace("ancestral", "a")), name] as const,
  ]),
);

/** Of a name that nobody knows, so many characters. */
const MOST_SHOWN = 100;

/** The scheduler that another program calls `name`. */
export function schedulerCalled(name: string): Name | undefined {
  const spelled = plain(name.slice(0, MOST_SHOWN)).replace(/ka$/, "karras"); // "k_lms_ka"
  return spelledAs(spelled) ?? (spelled.startsWith("k") ? spelledAs(spelled.slice(1)) : undefined); // as k-diffusion's are
}

const spelledAs = (spelled: string): Name | undefined =>
  Object.hasOwn(SPELLINGS, spelled) ? SPELLINGS[spelled] : OWN.get(spelled);

/** Schedules of noise levels that samplers are combined with elsewhere. */
const SCHEDULE = /(karras|exponential|polyexponential|beta|sgmuniform|uniform|simple|normal)$/;
/** What there is elsewhere, is not here, and looks like a slip of something else. */
const NOT_HERE = new Set(["ipndm", "ipndmv"]);

/** A scheduler that is meant by a slip of the fingers, unless it is another one that there is elsewhere. */
function nearest(name: string): Name | undefined {
  const spelled = plain(name);
  const sampler = spelled.replace(SCHEDULE, "");
  if (NOT_HERE.has(spelled) || (sampler !== spelled && schedulerCalled(sampler) !== undefined)) return undefined;
  const isOther = (own: string) => spelled.replace(/\D/g, "") !== own.replace(/\D/g, ""); // 2M is not 3M
  return SCHEDULERS.find((own) => !isOther(own) && isSlip(spelled, plain(own)));
}

/** What is wrong with a `scheduler` that is none. */
function unknownScheduler(value: unknown): string {
  const all = `the schedulers are ${SCHEDULERS.join(", ")}`;
  if (typeof value !== "string") return `must be the name of a scheduler; ${all}`;
  const shown = JSON.stringify(value.slice(0, MOST_SHOWN));
  const same = schedulerCalled(value);
  if (same !== undefined) return `${shown} is called "${same}" here; ${all}`;
  const near = nearest(value.slice(0, MOST_SHOWN));
  return `there is no scheduler ${shown}${near === undefined ? "" : `, the nearest is "${near}"`}; ${all}`;
}

/** A scheduler's name; one that other programs use is answered with ours. */
export const SchedulerName = z.enum(SCHEDULERS, {
  error: ({ input }) => (input === undefined ? undefined : unknownScheduler(input)),
});
