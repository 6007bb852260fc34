/** The scheduler config that a request runs with, against diffusers' pipelines: test/fixtures/make/request_config.py. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { loadControlNet, loadModel } from "../../src/diffusion/load.ts";
import { type Images, prepare } from "../../src/diffusion/pipeline.ts";
import { requestConfig } from "../../src/diffusion/request-config.ts";
import { decodeImage } from "../../src/image/decode.ts";
import { hint, mask, sample } from "../../src/image/hint.ts";
import { openBase, openControlNet } from "../../src/models/base.ts";
import { finish, HASH, readImage, request, runner, SD15, SIZE } from "../support/tiny.ts";

const expected = await decodeImage(readFileSync(join(SD15, "../request-config.png")), { maxPixels: 2 ** 20 });
const channels = expected.data.length / (expected.width * expected.height);

/** dB of a decoded image [3, H, W] in -1 … 1, rounded to 8 bits, against the `row`th picture. */
function psnr(image: Float32Array, row: number): number {
  const plane = SIZE ** 2;
  const squares = image.map((value, i) => {
    const byte = Math.round(Math.min(Math.max(value / 2 + 0.5, 0), 1) * 255);
    return (byte - expected.data[(row * plane + (i % plane)) * channels + Math.floor(i / plane)]!) ** 2;
  });
  return 10 * Math.log10(255 ** 2 / (squares.reduce((sum, square) => sum + square, 0) / image.length));
}

const canny = loadControlNet(openControlNet(join(SD15, "controlnets/canny")), runner, runner);
const bases = { sd15: openBase(join(SD15, "base")), sdxl: openBase(join(SD15, "../sdxl/base")) };

const OLD = {
  _class_name: "DDIMScheduler",
  num_train_timesteps: 1000,
  beta_start: 0.00085,
  beta_end: 0.012,
  beta_schedule: "scaled_linear",
  trained_betas: null,
  set_alpha_to_one: false,
};
const PLAYGROUND = {
  _class_name: "EDMDPMSolverMultistepScheduler",
  sigma_data: 0.5,
  sigma_max: 80,
  sigma_min: 0.002,
};
const PLAYGROUND_VAE = {
  latents_mean: [-1.6574, 1.886, -1.383, 2.5155],
  latents_std: [8.4927, 5.9022, 6.5498, 5.2299],
  scaling_factor: 0.5,
};
const COSXL = {
  _class_name: "EDMEulerScheduler",
  sigma_min: 0.002,
  sigma_max: 120,
  sigma_data: 1,
  prediction_type: "v_prediction",
  sigma_schedule: "exponential",
};
const CONTINUOUS = {
  ...OLD,
  _class_name: "EulerDiscreteScheduler",
  timestep_type: "continuous",
  prediction_type: "v_prediction",
  timestep_spacing: "leading",
};

const image = await readImage("inpaint/image.png", sample);
const maskImage = await readImage("inpaint/mask_image.png", mask);
const NOTHING: Images = { hints: [], masks: [], source: null };
const IMAGE: Images = { ...NOTHING, source: { image, mask: null } };
const MASKED: Images = { ...NOTHING, source: { image, mask: maskImage } };
const HINT: Images = { ...NOTHING, hints: [[() => readImage("inpaint/control_0.png", hint)]], masks: [null] };

interface Row {
  readonly name: string;
  readonly family?: keyof typeof bases;
  readonly scheduler: object;
  readonly vae?: object;
  readonly fields?: object;
  readonly images?: Images;
  /** What the warnings say of, in order. */
  readonly warns?: readonly string[];
}

const BOTH = ["steps_offset", "clip_sample"];
const rows: readonly Row[] = [
  { name: "an outdated config", scheduler: OLD, warns: BOTH },
  { name: "an outdated config, read by another scheduler", scheduler: OLD, fields: { scheduler: "ddpm" } },
  {
    name: "an outdated config, image to image",
    scheduler: { ...OLD, clip_sample: true },
    fields: { image: HASH, strength: 0.6 },
    images: IMAGE,
    warns: BOTH,
  },
  {
    name: "an outdated config, inpainting, which leaves clip_sample as it is",
    scheduler: OLD,
    fields: { image: HASH, mask_image: HASH, strength: 0.6 },
    images: MASKED,
    warns: ["steps_offset"],
  },
  { name: "an outdated config with a ControlNet, which leaves it as it is", scheduler: OLD, images: HINT },
  { name: "DDIM with eta", scheduler: { ...OLD, clip_sample: false, steps_offset: 1 }, fields: { eta: 0.6 } },
  {
    name: "Playground v2.5",
    family: "sdxl",
    scheduler: PLAYGROUND,
    vae: PLAYGROUND_VAE,
    fields: { scheduler: "edm_dpmpp_2m" },
  },
  {
    name: "Playground v2.5, image to image",
    family: "sdxl",
    scheduler: PLAYGROUND,
    vae: PLAYGROUND_VAE,
    fields: { scheduler: "edm_dpmpp_2m", image: HASH, strength: 0.6 },
    images: IMAGE,
  },
  { name: "CosXL", family: "sdxl", scheduler: COSXL, fields: { scheduler: "edm_euler" } },
  { name: "continuous timesteps", family: "sdxl", scheduler: CONTINUOUS, fields: { scheduler: "euler" } },
];

for (const [
  row,
  { name, family = "sd15", scheduler, vae = {}, fields, images = NOTHING, warns = [] },
] of rows.entries()) {
  test(`makes diffusers' picture: ${name}`, async () => {
    const base = bases[family];
    const model = loadModel({ ...base, scheduler, vae: { ...base.vae, ...vae } }, runner, runner);
    const said = { negative_prompt: "blurry", num_inference_steps: 6, guidance_scale: 5, ...fields };
    const controls = images.hints.map(() => ({}));
    const plan = await prepare(request(said, controls), model, images.hints.length > 0 ? [canny] : [], images);
    const decibels = psnr((await finish(plan))[0]!, row);
    console.log(`${name}: ${decibels.toFixed(1)} dB`);
    assert.ok(decibels >= 57, `${decibels.toFixed(1)} dB`);
    assert.equal(plan.warnings.length, warns.length);
    for (const [i, key] of warns.entries())
      assert.match(plan.warnings[i]!, new RegExp(`outdated: ${key} is taken for`));
  });
}

test("a request's fields stand above the checkpoint's config, and above what is mended in it", () => {
  const fields = { timestep_spacing: "trailing", prediction_type: "v_prediction", rescale_betas_zero_snr: true };
  assert.deepEqual(requestConfig({ ...OLD, timestep_spacing: "leading" }, request(fields), 1).config, {
    ...OLD,
    ...fields,
    steps_offset: 1,
    clip_sample: false,
  });
  assert.deepEqual(requestConfig(OLD, request({}), 2), { config: OLD, warnings: [] });
});
