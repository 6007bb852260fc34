import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { allowedSchedulers, defaultScheduler, ownScheduler } from "../../src/diffusion/own-scheduler.ts";
import { alphasCumprod, rint, sigmasOf, spacedTimesteps } from "../../src/diffusion/schedule.ts";
import { SchedulerConfigError } from "../../src/diffusion/scheduler-config.ts";
import { schedulerConfig } from "../../src/diffusion/scheduler-table.ts";
import { betaSigmas, chosenSigmas, exponentialSigmas, sigmaToTimestep } from "../../src/diffusion/sigmas.ts";
import { MAX_STEPS } from "../../src/schema/fields.ts";
import { SCHEDULER_FACTS, SCHEDULERS } from "../../src/schema/schedulers.ts";

const BETA_QUANTILES = [
  0.942843636377586, 0.824319621347305, 0.6706185042786161, 0.5, 0.3293814957213838, 0.17568037865269498,
  0.05715636362241408,
];
const OVER_BETAS = SCHEDULERS.filter((name) => SCHEDULER_FACTS[name].noise === "betas");
const OWN = {
  LMSDiscreteScheduler: "lms",
  DEISMultistepScheduler: "deis",
  KDPM2DiscreteScheduler: "dpm2",
  KDPM2AncestralDiscreteScheduler: "dpm2_ancestral",
  DPMSolverSinglestepScheduler: "dpmpp_2s",
  TCDScheduler: "tcd",
  EDMEulerScheduler: "edm_euler",
};
const OTHER_NOISE = [
  "FlowMatchEulerDiscreteScheduler",
  "IPNDMScheduler",
  "CMStochasticIterativeScheduler",
  "CogVideoXDPMScheduler",
  "SomethingElse",
];
const SD = { beta_start: 0.00085, beta_end: 0.012, beta_schedule: "scaled_linear", steps_offset: 1 };

suite("noise schedule", () => {
  // Expected values are those of diffusers 0.40 with torch 2.13.
  test("has torch's ᾱ for Stable Diffusion's betas to the bit, and its sigmas but for torch's own square root", () => {
    const alphas = alphasCumprod(schedulerConfig("euler", SD));
    assert.equal(alphas.length, 1000);
    assert.deepEqual(
      [alphas[0], alphas[500], alphas[999]],
      [0.9991499781608582, 0.27633246779441833, 0.00466009508818388],
    );
    const sigmas = sigmasOf(alphas);
    assert.equal(sigmas[999], 14.614646911621094);
    assert.ok(Math.abs(sigmas[0]! / 0.02916753478348255 - 1) < 2 ** -23);
  });

  test("ends in pure noise with rescale_betas_zero_snr", () => {
    const config = schedulerConfig("ddim", { ...SD, rescale_betas_zero_snr: true });
    assert.equal(alphasCumprod(config).at(-1), 0);
    assert.equal(alphasCumprod(config, 2 ** -24).at(-1), 2 ** -24);
    assert.equal(alphasCumprod(config)[0], alphasCumprod(schedulerConfig("ddim", SD))[0]);
  });

  test("takes trained betas as they are", () => {
    const config = schedulerConfig("ddim", { ...SD, trained_betas: [0.5, 0.5, 0.75] });
    assert.deepEqual(alphasCumprod(config), [0.5, 0.25, 0.0625]);
  });

  test("spaces timesteps as numpy does", () => {
    const spaced = (timestep_spacing: string, count: number, how = {}) =>
      spacedTimesteps(schedulerConfig("ddim", { ...SD, timestep_spacing }), count, how);
    assert.deepEqual(spaced("leading", 4), [751, 501, 251, 1]);
    assert.deepEqual(spaced("leading", 4, { open: true }), [801, 601, 401, 201]);
    assert.deepEqual(spaced("trailing", 4), [999, 749, 499, 249]);
    assert.deepEqual(spaced("trailing", 7), [999, 856, 713, 570, 428, 285, 142]);
    assert.deepEqual(spaced("linspace", 4), [999, 666, 333, 0]);
    assert.deepEqual(spaced("linspace", 1), [0]);
    assert.deepEqual(spaced("linspace", 4, { open: true }), [999, 749, 500, 250]);
    assert.deepEqual(spaced("linspace", 5, { fractional: true }), [999, 749.25, 499.5, 249.75, 0]);
    for (let count = 1; count <= 150; count++) assert.equal(spaced("trailing", count).length, count);
  });

  test("rounds halves to even, as numpy does", () => {
    assert.deepEqual([0.5, 1.5, 2.5, 499.5, 2.4, 2.6].map(rint), [0, 2, 2, 500, 2, 3]);
  });

  test("goes from a timestep to its sigma and back", () => {
    const sigmas = sigmasOf(alphasCumprod(schedulerConfig("euler", SD)));
    for (const t of [0, 1, 437, 998, 999]) assert.ok(Math.abs(sigmaToTimestep(sigmas[t]!, sigmas) - t) < 1e-3, `${t}`);
    assert.equal(sigmaToTimestep(1e9, sigmas), 999);
    assert.equal(sigmaToTimestep(0, sigmas), 0);
  });

  test("places Karras sigmas between the ends it is given", () => {
    const bounded = schedulerConfig("euler_karras", { ...SD, sigma_min: 0.1, sigma_max: 10 });
    const [max, ...rest] = chosenSigmas(bounded, 14.6, 0.03, 5)!;
    assert.ok(Math.abs(max! - 10) < 1e-12 && Math.abs(rest.at(-1)! - 0.1) < 1e-12);
    assert.deepEqual(chosenSigmas(schedulerConfig("euler_karras", SD), 14.6, 0.03, 1)!.map(rint), [15]);
    assert.equal(chosenSigmas(schedulerConfig("euler", SD), 14.6, 0.03, 5), null);
  });

  test("places exponential and beta sigmas as numpy and scipy do", () => {
    const near = (got: number[], expected: number[]) => {
      for (const [i, value] of got.entries()) {
        assert.ok(Math.abs(value / expected[i]! - 1) < 1e-12, `${value}, not ${expected[i]}`);
      }
    };
    near(exponentialSigmas(16, 1, 5), [16, 8, 4, 2, 1]);
    // scipy 1.17, stats.beta.ppf(1 - k / 8, 0.6, 0.6)
    near(betaSigmas(1, 0, 9).slice(1, -1), BETA_QUANTILES);
    assert.deepEqual([betaSigmas(14, 2, 9)[0], betaSigmas(14, 2, 9)[8], betaSigmas(14, 2, 1)[0]], [14, 2, 14]);
  });
});

suite("scheduler_config.json", () => {
  test("gives a scheduler the keys it knows, and its own defaults for the rest", () => {
    assert.equal(schedulerConfig("ddim", {}).beta_schedule, "linear");
    assert.equal(schedulerConfig("lcm", {}).beta_schedule, "scaled_linear");
    assert.equal(schedulerConfig("ddim", {}).clip_sample, true);
    assert.equal(schedulerConfig("pndm", { clip_sample: true }).clip_sample, false);
    assert.equal(schedulerConfig("pndm", {}).timestep_spacing, "leading");
    assert.equal(schedulerConfig("euler", {}).timestep_spacing, "linspace");
    assert.equal(schedulerConfig("euler", { timestep_spacing: "leading" }).timestep_spacing, "leading");
    assert.equal(
      schedulerConfig("dpmpp_2m", { lambda_min_clipped: null }).lambda_min_clipped,
      Number.NEGATIVE_INFINITY,
    );
  });

  test("is overruled by what the scheduler's name says", () => {
    assert.equal(schedulerConfig("euler", { use_karras_sigmas: true }).use_karras_sigmas, false);
    assert.equal(schedulerConfig("dpmpp_2m_karras", {}).use_karras_sigmas, true);
    assert.equal(schedulerConfig("dpmpp_2m", { algorithm_type: "dpmsolver" }).algorithm_type, "dpmsolver++");
    assert.equal(schedulerConfig("unipc", { use_karras_sigmas: true }).use_karras_sigmas, true);
  });

  const refused: [string, Parameters<typeof schedulerConfig>[0], Record<string, unknown>][] = [
    ["thresholding", "ddim", { thresholding: "yes" }],
    ["beta_schedule", "ddim", { beta_schedule: "sigmoid" }],
    ["timestep_spacing", "ddim", { timestep_spacing: "quadratic" }],
    ["prediction_type", "ddim", { prediction_type: "flow_prediction" }],
    ["prediction_type", "pndm", { prediction_type: "sample" }],
    ["variance_type", "ddpm", { variance_type: "learned_range" }],
    ["use_beta_sigmas", "heun", { use_beta_sigmas: true, use_exponential_sigmas: true }],
    ["timestep_type", "heun", { timestep_type: "continuous", prediction_type: "v_prediction" }],
    ["timestep_type", "dpmpp_sde", { timestep_type: "continuous", prediction_type: "v_prediction" }],
    ["_class_name", "euler", { _class_name: "EDMEulerScheduler" }],
    ["_class_name", "edm_euler", {}],
    ["_class_name", "ddim", { _class_name: "FlowMatchEulerDiscreteScheduler" }],
    ["use_flow_sigmas", "ddim", { _class_name: "UniPCMultistepScheduler", use_flow_sigmas: true }],
    ["prediction_type", "edm_euler", { _class_name: "EDMEulerScheduler", prediction_type: "sample" }],
    ["interpolation_type", "euler", { interpolation_type: "cubic" }],
    ["use_dynamic_shifting", "unipc", { use_dynamic_shifting: true }],
    ["use_flow_sigmas", "unipc", { use_flow_sigmas: true }],
    ["predict_x0", "unipc", { predict_x0: false }],
    ["num_train_timesteps", "lcm", { num_train_timesteps: "1000" }],
  ];
  for (const [key, name, config] of refused) {
    test(`is refused by name for ${name} when it says ${JSON.stringify(config)}`, () => {
      assert.throws(
        () => schedulerConfig(name, { ...SD, ...config }),
        (error) => error instanceof SchedulerConfigError && error.key === key && error.message.includes(key),
      );
    });
  }

  test("may say anything that the scheduler does not know", () => {
    assert.doesNotThrow(() => schedulerConfig("pndm", { thresholding: true, use_beta_sigmas: true, shift: 3 }));
    const other = { ...SD, _class_name: "LMSDiscreteScheduler", shift: 3 };
    assert.deepEqual(schedulerConfig("ddim", other), schedulerConfig("ddim", SD));
  });

  test("names the checkpoint's own scheduler", () => {
    const own = (_class_name: string, rest = {}) => ownScheduler({ _class_name, ...rest });
    assert.equal(own("PNDMScheduler", { skip_prk_steps: true }), "pndm");
    assert.throws(() => own("PNDMScheduler"), /skip_prk_steps false is not supported: Runge-Kutta/);
    assert.equal(own("EulerDiscreteScheduler"), "euler");
    assert.equal(own("EulerDiscreteScheduler", { use_karras_sigmas: true }), "euler_karras");
    const deis = { algorithm_type: "deis" };
    assert.equal(own("DPMSolverMultistepScheduler", { ...deis, final_sigmas_type: "sigma_min" }), "dpmpp_2m");
    assert.throws(() => own("DPMSolverMultistepScheduler", deis), /final_sigmas_type "zero" cannot be had beside/);
    assert.equal(own("DEISMultistepScheduler", { algorithm_type: "dpmsolver++" }), "deis");
    assert.throws(() => own("DEISMultistepScheduler", { algorithm_type: "sde-dpmsolver++" }), /algorithm_type/);
    assert.equal(own("DDIMParallelScheduler"), "ddim");
    const sde = { algorithm_type: "sde-dpmsolver++" };
    assert.equal(own("DPMSolverMultistepScheduler", { ...sde, use_karras_sigmas: true }), "dpmpp_2m_sde_karras");
    assert.equal(own("DPMSolverMultistepScheduler", sde), "dpmpp_2m_sde");
    assert.throws(() => own("DPMSolverSinglestepScheduler", sde), /algorithm_type/);
    assert.equal(own("EulerDiscreteScheduler", { use_beta_sigmas: true }), "euler_beta");
    assert.equal(own("EDMDPMSolverMultistepScheduler"), "edm_dpmpp_2m");
    for (const [className, name] of Object.entries(OWN)) assert.equal(own(className), name);
    assert.equal(own("SASolverScheduler", { algorithm_type: "data_prediction" }), "sa_solver");
    assert.throws(() => own("DPMSolverSDEScheduler"), /_class_name "DPMSolverSDEScheduler" is not supported/);
    assert.throws(() => own("toString"), /_class_name "toString"/);
    assert.throws(() => ownScheduler({}), SchedulerConfigError);
  });

  test("gives a checkpoint whose own scheduler is none of the API's the first that it allows, and says so", () => {
    const sde = { ...SD, _class_name: "DPMSolverSDEScheduler" };
    const { scheduler, warnings } = defaultScheduler(sde);
    assert.equal(scheduler, "dpmpp_sde"); // the same but for the noise
    assert.match(warnings.join(), /"DPMSolverSDEScheduler" is not supported; "dpmpp_sde" is the default instead/);
    assert.equal(defaultScheduler({ ...sde, use_karras_sigmas: true }).scheduler, "dpmpp_sde_karras");
    assert.equal(defaultScheduler({ ...sde, use_beta_sigmas: true }).scheduler, "dpmpp_2m"); // which keeps to them
    assert.deepEqual(defaultScheduler({ ...SD, _class_name: "DDIMScheduler" }), { scheduler: "ddim", warnings: [] });
    assert.throws(() => defaultScheduler({ prediction_type: "flow_prediction" }), SchedulerConfigError);
  });

  test("of another noise schedule than the API's is refused by its class, not run by another", () => {
    for (const _class_name of OTHER_NOISE) {
      assert.throws(() => defaultScheduler({ ...SD, _class_name }), new RegExp(`_class_name "${_class_name}"`));
      assert.deepEqual(allowedSchedulers({ ...SD, _class_name }), []);
    }
    const sde = { _class_name: "EDMDPMSolverMultistepScheduler", algorithm_type: "sde-dpmsolver++" };
    // A picture by another than the class that it names would be another picture.
    assert.throws(() => defaultScheduler(sde), /algorithm_type "sde-dpmsolver\+\+" is not supported by EDMDPMSolver/);
    const ids = (raw: object) => allowedSchedulers({ ...raw }).map(({ id }) => id);
    assert.deepEqual(ids(sde), ["edm_euler", "edm_dpmpp_2m"]);
    const continuous = { ...SD, _class_name: "EulerDiscreteScheduler", timestep_type: "continuous" };
    assert.deepEqual(ids({ ...continuous, prediction_type: "v_prediction" }), [
      "euler",
      "euler_karras",
      "euler_exponential",
      "euler_beta",
    ]);
  });

  test("says which schedulers a checkpoint's config allows, and for how many steps", () => {
    const steps = (config: object) =>
      Object.fromEntries(allowedSchedulers({ ...SD, ...config }).map((one) => [one.id, one.max_inference_steps]));
    const all = steps({});
    assert.deepEqual(Object.keys(all), OVER_BETAS);
    assert.deepEqual([all.ddim, all.lcm, all.tcd], [MAX_STEPS, 50, 50]);
    assert.equal(steps({ original_inference_steps: 100 }).lcm, 100);
    assert.ok(!("lcm" in steps({ original_inference_steps: 2000 })));
    const ofSamples = steps({ prediction_type: "sample" });
    assert.ok("dpmpp_2m" in ofSamples && !("pndm" in ofSamples) && !("euler_ancestral" in ofSamples));
  });

  test("suits every scheduler of the API as Stable Diffusion has it", () => {
    for (const name of OVER_BETAS) assert.equal(schedulerConfig(name, SD).beta_end, 0.012);
  });
});
