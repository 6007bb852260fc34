/** What is said of fields that other programs have: the right one of ours, or nothing. Never another. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { z } from "zod";
import { type FieldNames, GENERATION_NAMES, TRAINING_NAMES } from "../../src/schema/field-names.ts";
import { GenerationInput } from "../../src/schema/generation-request.ts";
import { TrainingInput } from "../../src/schema/training-request.ts";

const CONTROL = { controlnet: "canny", image: "upload:upl_1" };

/** What is said of a field of an object of a request; undefined when it is known. */
function said(name: string, home = ""): string | undefined {
  const body = home === "" ? { prompt: "", [name]: 0 } : { prompt: "", [home]: [{ ...CONTROL, [name]: 0 }] };
  const { issues = [] } = GenerationInput.safeParse(body).error ?? {};
  return issues.find((issue) => issue.code === "unrecognized_keys")?.message;
}

/** Of every field that A1111, diffusers, OpenAI, Replicate, fal and others have: what means the same here; null = nothing does. */
const AT_THE_TOP: Record<string, string | null> = {
  // AUTOMATIC1111
  styles: null,
  subseed: null,
  subseed_strength: null,
  seed_resize_from_h: null,
  seed_resize_from_w: null,
  sampler_name: '"scheduler"',
  sampler_index: '"scheduler"',
  batch_size: '"num_images"',
  n_iter: '"num_images"',
  steps: '"num_inference_steps"',
  cfg_scale: '"guidance_scale"',
  restore_faces: null,
  tiling: null,
  denoising_strength: '"strength"',
  s_churn: null,
  s_tmax: null,
  s_tmin: null,
  s_noise: null,
  s_min_uncond: null,
  override_settings: null,
  override_settings_restore_afterwards: null,
  enable_hr: null,
  hr_scale: null,
  hr_upscaler: null,
  hr_second_pass_steps: null,
  hr_resize_x: null,
  hr_resize_y: null,
  send_images: null,
  save_images: null,
  do_not_save_grid: null,
  do_not_save_samples: null,
  alwayson_scripts: '"controls"',
  force_task_id: null,
  infotext: null,
  init_images: '"image"',
  mask: '"mask_image"',
  mask_blur: null,
  inpainting_fill: null,
  inpaint_full_res: null,
  inpainting_mask_invert: null,
  resize_mode: '"controls[].resize_mode"',
  include_init_images: null,
  sd_model_checkpoint: '"model"',
  CLIP_stop_at_last_layers: '"clip_skip"',
  controlnet_units: '"controls"',
  // diffusers
  num_images_per_prompt: '"num_images"',
  generator: '"seed"',
  latents: null,
  timesteps: null,
  sigmas: null,
  prompt_embeds: null,
  negative_prompt_embeds: null,
  ip_adapter_image: '"ip_adapters[].image"',
  output_type: '"output_format"',
  control_image: '"controls[].image"',
  controlnet_conditioning_scale: '"controls[].conditioning_scale"',
  control_guidance_start: '"controls[].control_guidance_start"',
  control_guidance_end: '"controls[].control_guidance_end"',
  callback_on_step_end: null,
  // lllyasviel/ControlNet
  image_resolution: '"width" and "height"',
  ddim_steps: '"num_inference_steps"',
  scale: '"guidance_scale"',
  a_prompt: '"prompt"',
  n_prompt: '"negative_prompt"',
  detect_resolution: null,
  bg_threshold: null,
  // OpenAI
  n: '"num_images"',
  size: '"width" and "height"',
  quality: null,
  output_compression: null,
  moderation: null,
  background: null,
  user: null,
  stream: null,
  partial_images: '"preview"',
  // Replicate, fal, Stability, Vertex, stable-diffusion.cpp, diffusers.js
  input: null,
  version: '"model"',
  webhook_events_filter: '"webhook.events"',
  num_outputs: '"num_images"',
  image_size: '"width" and "height"',
  control_image_url: '"controls[].image"',
  enable_safety_checker: null,
  sync_mode: null,
  controlnets: '"controls"',
  control_strength: '"controls[].conditioning_scale"',
  originalImageWeight: null,
  conditions: '"controls"',
  negativePrompt: '"negative_prompt"',
  numInferenceSteps: '"num_inference_steps"',
  guidanceScale: '"guidance_scale"',
  inputImage: '"image"',
  controlNetImage: '"controls[].image"',
  // diffusers' SDXL, and names that mean anything
  hr_prompt: null,
  prompt_2: null,
  negative_prompt_2: null,
  denoising_end: null,
  cross_attention_kwargs: null,
  id: null,
  name: null,
  path: null,
  url: null,
};

const OF_A_CONTROL: Record<string, string | null> = {
  enabled: null,
  model: '"controlnet"',
  weight: '"conditioning_scale"',
  input_image: '"image"',
  mask_image: '"mask"',
  processor_res: null,
  threshold_a: null,
  threshold_b: null,
  pixel_perfect: null,
  guidance_start: '"control_guidance_start"',
  guidance_end: '"control_guidance_end"',
  guidance: '"control_guidance_end"',
  guessmode: '"guess_mode" of the request itself',
  guess_mode: '"guess_mode" of the request itself',
  low_vram: null,
  lowvram: null,
  hr_option: null,
  save_detected_map: null,
  advanced_weighting: '"layer_scales"',
  effective_region_mask: '"mask"',
  inpaint_crop_input_image: null,
  pulid_mode: null,
  ipadapter_input: null,
  input_mode: null,
  control_model: '"controlnet"',
  control_weight: '"conditioning_scale"',
  begin_step_percent: '"control_guidance_start"',
  end_step_percent: '"control_guidance_end"',
  start_percentage: '"control_guidance_start"',
  end_percentage: '"control_guidance_end"',
  control_image_url: '"image"',
  path: '"controlnet"',
  conditionName: '"controlnet"',
  conditionMapBytesBase64Encoded: '"image"',
  conditionWeight: '"conditioning_scale"',
  conditionMaxT: '"control_guidance_end"',
};

describe("a field that another program has is answered with ours, or with none", () => {
  for (const [home, fields] of [
    ["", AT_THE_TOP],
    ["controls", OF_A_CONTROL],
  ] as const) {
    for (const [name, ours] of Object.entries(fields)) {
      test(`${home === "" ? "" : "of a control: "}${name} → ${ours ?? "nothing"}`, () => {
        assert.equal(said(name, home), `unknown field "${name}"${ours === null ? "" : `, here it is ${ours}`}`);
      });
    }
  }
});

test("a slip of the fingers is answered with the nearest, what is only a little like a field with none", () => {
  for (const [name, nearest] of [
    ["guidance_scal", "guidance_scale"],
    ["widht", "width"],
    ["seeed", "seed"],
    ["num_infernce_stesp", null],
    ["num_inferense_step", "num_inference_steps"],
  ] as const) {
    assert.equal(
      said(name),
      `unknown field "${name}"${nearest === null ? "" : `, the nearest known one is "${nearest}"`}`,
    );
  }
});

test("every field that the tables of names tell of is there", () => {
  const fieldAt = (schema: z.ZodType, path: string): unknown =>
    path.split(".").reduce((at: unknown, part) => {
      const def = (inner: unknown) => (inner as { _zod?: { def: Record<string, unknown> } } | undefined)?._zod?.def;
      let object = def(at);
      while (object !== undefined && object.type !== "object") object = def(object.innerType ?? object.element);
      return (object?.shape as Record<string, unknown> | undefined)?.[part.replace("[]", "")];
    }, schema);
  const tables: [z.ZodType, FieldNames][] = [
    [GenerationInput, GENERATION_NAMES],
    [TrainingInput, TRAINING_NAMES],
  ];
  for (const [schema, names] of tables) {
    for (const path of Object.keys(names)) assert.ok(fieldAt(schema, path), path);
  }
});
