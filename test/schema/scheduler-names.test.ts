/** What is said of schedulers as other programs spell them: ours that is the same, or none. Never another. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { SchedulerName } from "../../src/schema/scheduler-names.ts";

/** Of the names of the web UI, diffusers, k-diffusion and ComfyUI: the one of ours that is the same; null = there is none. */
const NAMES: Record<string, string | null> = {
  // the web UI
  "Euler a": "euler_ancestral",
  Euler: "euler",
  LMS: "lms",
  "LMS Karras": "lms_karras",
  Heun: "heun",
  DPM2: "dpm2",
  "DPM2 a": "dpm2_ancestral",
  "DPM2 Karras": null,
  "DPM2 a Karras": null,
  "DPM++ 2S a": "dpmpp_2s_ancestral",
  "DPM++ 2S a Karras": null,
  "DPM++ 2M": "dpmpp_2m",
  "DPM++ 2M Karras": "dpmpp_2m_karras",
  "DPM++ 2M SDE": "dpmpp_2m_sde",
  "DPM++ 2M SDE Karras": "dpmpp_2m_sde_karras",
  "DPM++ 2M SDE Heun": null,
  "DPM++ 3M SDE": null,
  "DPM++ SDE": "dpmpp_sde",
  "DPM++ SDE Karras": "dpmpp_sde_karras",
  "DPM fast": null,
  "DPM adaptive": null,
  Restart: null,
  "DDIM CFG++": null,
  PLMS: "pndm",
  UniPC: "unipc",
  LCM: "lcm",
  "Euler Karras": "euler_karras",
  "Euler a Karras": null,
  "DDIM Karras": null,
  Automatic: null,
  Karras: null,
  // what clients of it send
  k_euler_a: "euler_ancestral",
  k_lms_ka: "lms_karras",
  k_dpmpp_2m: "dpmpp_2m",
  k_dpmpp_2m_ka: "dpmpp_2m_karras",
  K_DPMPP_2S_ANCESTRAL: "dpmpp_2s_ancestral",
  K_DPM_2: "dpm2",
  // diffusers
  EulerDiscreteScheduler: "euler",
  EulerAncestralDiscreteScheduler: "euler_ancestral",
  DPMSolverMultistepScheduler: "dpmpp_2m",
  DPMSolverSinglestepScheduler: "dpmpp_2s",
  KDPM2DiscreteScheduler: "dpm2",
  KDPM2AncestralDiscreteScheduler: "dpm2_ancestral",
  LMSDiscreteScheduler: "lms",
  UniPCMultistepScheduler: "unipc",
  DEISMultistepScheduler: "deis",
  IPNDMScheduler: null,
  FlowMatchEulerDiscreteScheduler: null,
  SASolverScheduler: "sa_solver",
  DDIMInverseScheduler: null,
  // ComfyUI
  dpm_2_ancestral: "dpm2_ancestral",
  dpmpp_3m_sde: null,
  ipndm: null,
  ipndm_v: null,
  euler_cfg_pp: null,
  res_multistep: null,
  uni_pc_bh2: "unipc",
  ddim_uniform: "ddim",
  sgm_uniform: null,
};

for (const [name, ours] of Object.entries(NAMES)) {
  test(`${name} → ${ours ?? "none"}`, () => {
    const said = SchedulerName.safeParse(name).error?.issues[0]?.message.split(";")[0];
    assert.equal(said, ours === null ? `there is no scheduler "${name}"` : `"${name}" is called "${ours}" here`);
  });
}

test("a slip of the fingers is answered with the nearest", () => {
  for (const [name, nearest] of [
    ["eulr", "euler"],
    ["euler_karas", "euler_karras"],
    ["dpmp_2m", "dpmpp_2m"],
  ]) {
    const [issue] = SchedulerName.safeParse(name).error!.issues;
    assert.match(issue!.message, new RegExp(`^there is no scheduler "${name}", the nearest is "${nearest}"`));
  }
});
