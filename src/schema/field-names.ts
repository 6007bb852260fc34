/**
 * What fields of a request are called elsewhere: in AUTOMATIC1111's web UI and its ControlNet extension, diffusers, the original
 * ControlNet's demos, OpenAI, Replicate, fal, Stability, InvokeAI, stable-diffusion.cpp.
 */
import { closest, distance } from "fastest-levenshtein";

/** Names that mean a field elsewhere, with blanks between, by the field's path. */
export type FieldNames = Readonly<Record<string, string>>;

/**
 * By our field, as a path into the request of a generation, the names that mean it elsewhere. A name may stand for several. What has
 * no counterpart here stands nowhere: of it nothing is said, which is better than something wrong.
 */
export const GENERATION_NAMES = {
  model:
    "model_id model_name model_key sd_model sd_model_checkpoint checkpoint ckpt ckpt_name pretrained_model_name_or_path version",
  prompt: "a_prompt text text_prompt positive_prompt positive",
  negative_prompt: "n_prompt neg_prompt negative uc unconditional_prompt",
  width: "w image_width image_size size resolution image_resolution",
  height: "h image_height image_size size resolution image_resolution",
  num_inference_steps:
    "steps ddim_steps sampling_steps sample_steps num_steps inference_steps num_inference_timesteps n_steps",
  guidance_scale: "cfg_scale cfg cfg_guidance scale guidance classifier_free_guidance_scale",
  scheduler: "sampler sampler_name sampler_index sampling_method sample_method scheduler_name sampler_type",
  seed: "generator manual_seed noise_seed random_seed seeds",
  num_images:
    "num_images_per_prompt num_outputs n n_iter batch_size batch_count num_samples n_samples samples number_of_images",
  guess_mode: "guessmode",
  clip_skip: "clip_stop_at_last_layers clip_layer stop_at_clip_layer",
  guidance_rescale: "rescale_cfg cfg_rescale guidance_rescale_phi",
  image_guidance_scale: "image_cfg_scale cfg_image img_cfg_scale image_cfg",
  image:
    "init_image init_images input_image init_img initial_image image_url init_image_url original_image img2img_image source_image image_b64",
  mask_image: "mask inpaint_mask inpainting_mask mask_url mask_image_url mask_img",
  strength: "denoising_strength denoise denoise_strength image_strength prompt_strength img2img_strength",
  output_format: "format image_format output_type convert_output",
  response: "response_format",
  preview: "partial_images previews live_preview",
  "webhook.url": "webhook_url callback_url callback notify_url fal_webhook webhook_v2",
  "webhook.events": "webhook_events_filter webhook_events events_filter",
  priority: "queue_priority job_priority",
  metadata: "user_metadata user_data",
  controls:
    "controlnet controlnets controlnet_units controlnet_args control_net control_nets control_units units conditions alwayson_scripts adapter_conditioning",
  "controls[].controlnet":
    "model model_id control_model controlnet_model controlnet_model_name controlnet_id controlnet_name controlnet_type condition_name path",
  "controls[].image":
    "image input_image control_image control_image_url controlnet_image controlnet_input_image controlnet_input_images controlnet_images controlnet_cond conditioning_image hint condition_image condition_map_bytes_base64_encoded image_url",
  "controls[].mask": "mask mask_image control_mask effective_region_mask region_mask controlnet_mask controlnet_masks",
  "controls[].annotator": "module preprocessor controlnet_module controlnet_preprocessor",
  "controls[].pose": "openpose_json pose_json",
  "controls[].conditioning_scale":
    "controlnet_conditioning_scale weight strength control_weight control_strength controlnet_strength controlnet_scale controlnet_weight condition_weight conditioning_strength scale",
  "controls[].control_guidance_start":
    "guidance_start controlnet_start begin_step_percent start_percentage start_percent start_step starting_step starting_control_step control_start",
  "controls[].control_guidance_end":
    "guidance_end guidance controlnet_end end_step_percent end_percentage end_percent end_step ending_step ending_control_step control_end condition_max_t",
  "controls[].control_mode": "mode weight_mode controlnet_mode",
  "controls[].control_type": "union_control_type union_type",
  "controls[].resize_mode": "resize",
  "controls[].layer_scales": "advanced_weighting soft_weights layer_weights",
  loras: "lora lora_weights lora_models",
  "loras[].lora": "model name path lora_name file id",
  "loras[].scale": "weight strength lora_scale lora_weight strength_model multiplier",
  embeddings: "textual_inversions textual_inversion embedding",
  "embeddings[].embedding": "name path model id",
  "embeddings[].token": "trigger trigger_word placeholder_token",
  ip_adapters: "ip_adapter ipadapter ipadapters ip_adapter_units",
  "ip_adapters[].ip_adapter": "model name id adapter",
  "ip_adapters[].image": "ip_adapter_image ipadapter_input ip_adapter_image_url input_image",
  "ip_adapters[].scale": "ip_adapter_scale weight strength conditioning_scale",
  "ip_adapters[].mask": "mask_image ip_adapter_mask",
  adapters: "adapter t2i_adapter t2i_adapters",
  "adapters[].adapter": "model name id",
  "adapters[].image": "adapter_image input_image control_image",
  "adapters[].conditioning_scale": "adapter_conditioning_scale weight strength scale",
  "adapters[].conditioning_factor": "adapter_conditioning_factor",
} as const satisfies FieldNames;

/** Of the request of a training: kohya's scripts, diffusers' and the original's. */
export const TRAINING_NAMES = {
  base: "model base_model model_id pretrained_model_name_or_path sd_model checkpoint",
  name: "controlnet output_name model_name output_dir",
  dataset: "data data_dir train_data_dir dataset_name dataset_url",
  max_train_steps: "steps num_steps max_steps train_steps",
  learning_rate: "lr",
  lr_scheduler: "scheduler lr_schedule",
  lr_warmup_steps: "warmup_steps num_warmup_steps warmup",
  train_batch_size: "batch_size batch",
  gradient_accumulation_steps: "accumulate_grad_batches grad_accumulation gradient_accumulation",
  resolution: "size image_size width height",
  proportion_empty_prompts: "caption_dropout caption_dropout_rate empty_prompts",
  random_flip: "flip flip_aug hflip",
  adam_weight_decay: "weight_decay",
  max_grad_norm: "grad_clip gradient_clip clip_grad_norm",
  checkpointing_steps: "save_every save_every_n_steps save_steps checkpoint_every",
  validation: "validation_prompt validation_prompts validation_image validation_images",
  "webhook.url": "webhook_url callback_url callback",
} as const satisfies FieldNames;

/** A name without capitals and signs: clients write camelCase, kebab-case and snake_case. */
const plain = (name: string) => name.toLowerCase().replace(/[^a-z0-9]/g, "");
const lastOf = (path: string) => path.slice(path.lastIndexOf(".") + 1);
const homeOf = (path: string) => path.slice(0, path.lastIndexOf(".") + 1);
const quoted = (paths: readonly string[]) => paths.map((path) => `"${path}"`).join(" and ");

/** Says what was probably meant by a field that an object with the `known` ones does not have; null = nothing is like it. */
export type Meant = (unknown: string, known: readonly string[]) => string | null;

/** Names this long may have two slips in them. */
const LONG = 8;

/** Whether the one is the other with a slip of the fingers: a letter too many, too few or another; or two in the wrong order. */
export function isSlip(spelled: string, name: string): boolean {
  if (spelled.replace(name, "").match(/^\d+$/)) return false; // "prompt_2" is another prompt, not a slip
  const edits = distance(spelled, name);
  if (edits <= 1) return spelled.length > 2;
  const sorted = (text: string) => [...text].sort().join("");
  const alike = spelled.length >= LONG && Math.abs(spelled.length - name.length) < 2;
  return edits === 2 && (alike || sorted(spelled) === sorted(name));
}

/** A known name that is written otherwise, or with a slip. */
export const meantByItself: Meant = (unknown, known) => {
  const spelled = plain(unknown);
  const own = known.find((name) => plain(name) === spelled);
  if (own !== undefined) return `here it is "${own}"`;
  const near = known.filter((name) => isSlip(spelled, plain(name)));
  return near.length === 0 ? null : `the nearest known one is "${closest(unknown, near)}"`;
};

/** Names that mean something within an object, and at the top anything. */
const SAYS_LITTLE = new Set("id name model path file url token trigger multiplier mode resize events".split(" "));

/** What was meant by a name, by what it means elsewhere, in each object of a request: by its path ("", "controls[]."). */
export function meantElsewhere(names: FieldNames): (home: string) => Meant {
  const paths = new Map<string, string[]>();
  for (const [path, others] of Object.entries(names)) {
    for (const name of new Set([lastOf(path), ...others.split(" ")].map(plain))) {
      paths.set(name, [...(paths.get(name) ?? []), path]);
    }
  }
  return (home) => (unknown, known) => {
    const spelled = plain(unknown);
    const found = paths.get(spelled) ?? [];
    const here = found.filter((path) => homeOf(path) === home);
    if (here.length > 0) return `here it is ${quoted(here.map(lastOf))}`;
    if (home === "" && found.length > 0 && !SAYS_LITTLE.has(spelled)) return `here it is ${quoted(found.slice(0, 1))}`;
    const outside = found.find((path) => plain(path) === spelled);
    if (outside !== undefined) return `here it is "${outside}" of the request itself`;
    return meantByItself(unknown, known);
  };
}

export const meantInGeneration = meantElsewhere(GENERATION_NAMES);
export const meantInTraining = meantElsewhere(TRAINING_NAMES);
