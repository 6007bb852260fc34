/**
 * The bodies of `/sdapi/v1/txt2img` and `/img2img`: every field that the web UI has. What changes the picture is carried out
 * or must have the value with which it does not; what is unknown is refused.
 */
import { z } from "zod";
import { closed } from "../../../schema/closed.ts";

const text = z.string().nullish();
/** Numbers may be written as text, as the web UI reads them. */
const numeric = <T extends z.ZodType>(type: T) =>
  z.preprocess((value) => (typeof value === "string" && NUMBER.test(value) ? Number(value) : value), type.nullish());
const NUMBER = /^-?\d{1,17}(\.\d{1,17})?$/;
const number = numeric(z.number());
const flag = z.boolean().nullish();
/** A field that does nothing here, and nothing to the picture there either, as long as `only` holds. */
const anything = z.unknown().optional();

/** A field that must be as if it were absent. @param neutral its values that change nothing */
function absent(neutral: readonly unknown[], reason: string) {
  const isEmpty = (value: unknown) =>
    value == null ||
    neutral.includes(value) ||
    (typeof value === "object" && neutral.includes(JSON.stringify(value))) ||
    (neutral.includes("<=0") && typeof value === "number" && value <= 0);
  return z.custom<unknown>(isEmpty, { error: reason }).optional();
}

const NO_HIRES = "hires fix is not there here: make the picture larger, or send it to img2img";

const shared = {
  prompt: text,
  negative_prompt: text,
  seed: numeric(z.int()),
  sampler_name: text,
  sampler_index: text,
  scheduler: text,
  batch_size: numeric(z.int().min(1)),
  n_iter: numeric(z.int().min(1)),
  steps: numeric(z.int()),
  cfg_scale: number,
  width: numeric(z.int()),
  height: numeric(z.int()),
  denoising_strength: number,
  eta: number,
  clip_skip: numeric(z.int()),
  override_settings: z.record(z.string(), z.unknown()).nullish(),
  override_settings_restore_afterwards: flag,
  alwayson_scripts: z.record(z.string(), z.unknown()).nullish(),
  controlnet_units: z.array(z.unknown()).nullish(),
  send_images: flag,
  force_task_id: z.string().max(200).nullish(),

  styles: absent(["", "[]", '[""]'], "there are no styles here: write them into the prompt"),
  subseed: anything, // with a strength alone
  subseed_strength: absent([0], "variations of a seed are not there here: must be 0"),
  seed_resize_from_h: absent(["<=0"], "is not there here: must be 0"),
  seed_resize_from_w: absent(["<=0"], "is not there here: must be 0"),
  restore_faces: absent([false], "faces are not restored here: must be false"),
  tiling: absent([false], "pictures that tile are not there here: must be false"),
  s_churn: absent([0], "is not there here: must be 0"),
  s_tmin: absent([0], "is not there here: must be 0"),
  s_tmax: anything, // with s_churn alone
  s_noise: number,
  s_min_uncond: absent([0], "is not there here: must be 0"),
  refiner_checkpoint: absent(["", "None"], "a refiner is not there here"),
  refiner_switch_at: anything, // with a refiner alone
  script_name: absent(["", "None"], "scripts are not there here"),
  script_args: anything, // with a script alone
  disable_extra_networks: absent([false], "write the prompt without them instead"),
  infotext: absent([""], "send the fields instead"),
  comments: absent(["{}"], "is not there here"),
  distilled_cfg_scale: anything, // of Flux alone
  enable_hr: absent([false], NO_HIRES),
  // Of the second pass, with enable_hr alone.
  firstphase_width: anything,
  firstphase_height: anything,
  hr_scale: anything,
  hr_upscaler: anything,
  hr_second_pass_steps: anything,
  hr_resize_x: anything,
  hr_resize_y: anything,
  hr_checkpoint_name: anything,
  hr_sampler_name: anything,
  hr_scheduler: anything,
  hr_prompt: anything,
  hr_negative_prompt: anything,
  hr_additional_modules: anything,
  hr_cfg: anything,
  hr_distilled_cfg: anything,
  firstpass_image: anything,
  // Whether files are written on the server: each picture is kept all the same, for as long as any.
  save_images: flag,
  do_not_save_samples: flag,
  do_not_save_grid: flag,
  use_deprecated_controlnet: flag, // says which of two fields holds the units; both are read
};

export const TextToImageBody = closed(shared);

const DENOISED_WHOLE = "pictures are not blended with the one that they began with here: must be 0";

export const ImageToImageBody = closed({
  ...shared,
  init_images: z.array(z.string()).length(1, "must be one image"),
  mask: text,
  mask_blur: number,
  mask_blur_x: number,
  mask_blur_y: number,
  mask_round: anything,
  inpainting_fill: z.int().nullish(),
  inpaint_full_res: z.union([z.boolean(), z.int()]).nullish(),
  inpaint_full_res_padding: anything, // with inpaint_full_res alone
  inpainting_mask_invert: z.union([z.boolean(), z.int()]).nullish(),
  resize_mode: z.int().nullish(),
  include_init_images: flag,
  image_cfg_scale: number, // of models that edit by instructions alone
  initial_noise_multiplier: absent([1], "is not there here: must be 1"),
  latent_mask: absent([""], "is not there here: send mask"),
});

export type Body = z.infer<typeof TextToImageBody>;
export type ImageBody = z.infer<typeof ImageToImageBody>;

/** What a mask is used with, when there is one: the values that can be carried out, and why no others. */
export const WITH_MASK = [
  { field: "mask_blur", allowed: [0], reason: DENOISED_WHOLE },
  { field: "mask_blur_x", allowed: [0], reason: DENOISED_WHOLE },
  { field: "mask_blur_y", allowed: [0], reason: DENOISED_WHOLE },
  {
    field: "inpainting_fill",
    allowed: [1],
    reason: "what is masked begins as it is in the image here: must be 1 (original)",
  },
  { field: "inpaint_full_res", allowed: [false, 0], reason: "the whole picture is made here: must be false" },
] as const;
