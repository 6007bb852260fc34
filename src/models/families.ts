/**
 * What a single file of each family does not say: diffusers' single-file loader takes it from the configs of the published
 * folders (loaders/single_file_utils.py, DIFFUSERS_DEFAULT_PIPELINE_PATHS), whose figures these are.
 */
import { join } from "node:path";
import type { ClipConfig } from "./config.ts";
import type { originalNames } from "./original-names.ts";

/** A text encoder, and where an original checkpoint has it. */
export interface Tower {
  readonly prefix: string;
  readonly names: keyof typeof originalNames;
  readonly hidden_act: ClipConfig["hidden_act"];
  readonly heads: (size: number) => number;
  /** Layers that are run at most. SD 2.x reads the last but one and so never runs the last, which some files lack. */
  readonly layers: number;
  readonly tokenizerFolder: string;
}

export interface Family {
  /** Heads of a transformer of so many channels at a level. */
  readonly heads: (channels: number, level: number) => number;
  readonly norm_num_groups: number;
  readonly addition_time_embed_dim: number;
  /** Latent cells a side that it was trained at. */
  readonly sample_size: number;
  /** Of the VAE. */
  readonly scaling_factor: number;
  readonly towers: readonly Tower[];
  /** scheduler_config.json. */
  readonly scheduler: object;
  /** What the file does not say and had to be assumed. */
  readonly assumed: string | null;
}

/** Of all the published scheduler_config.json: DDIM's keys too where the class is another, for requests that name DDIM. */
const common = {
  beta_start: 0.00085,
  beta_end: 0.012,
  beta_schedule: "scaled_linear",
  num_train_timesteps: 1000,
  clip_sample: false,
  set_alpha_to_one: false,
  steps_offset: 1,
};
const schedulers = {
  pndm: { _class_name: "PNDMScheduler", ...common, skip_prk_steps: true },
  ddimV: { _class_name: "DDIMScheduler", ...common, prediction_type: "v_prediction" },
  euler: {
    _class_name: "EulerDiscreteScheduler",
    ...common,
    interpolation_type: "linear",
    prediction_type: "epsilon",
    timestep_spacing: "leading",
    use_karras_sigmas: false,
  },
  turbo: {
    _class_name: "EulerDiscreteScheduler",
    ...common,
    interpolation_type: "linear",
    prediction_type: "epsilon",
    timestep_spacing: "trailing",
    use_karras_sigmas: false,
  },
};

/** CLIP's merges, with the special tokens of the two kinds of tokenizer: SD 1.x pads with <|endoftext|>, OpenCLIP's towers with "!". */
const vocabulary = (padding: string) => join(import.meta.dirname, "../../assets/clip-vocab", padding);

const openAi = (prefix: string): Tower => ({
  prefix,
  names: "clip",
  hidden_act: "quick_gelu",
  heads: (size) => size / 64,
  layers: 12,
  tokenizerFolder: vocabulary("pad-endoftext"),
});
const openClip = (prefix: string, layers: number): Tower => ({
  prefix,
  names: "openClip",
  hidden_act: "gelu",
  heads: (size) => size / 64,
  layers,
  tokenizerFolder: vocabulary("pad-exclamation"),
});

const sd1: Family = {
  heads: () => 8,
  norm_num_groups: 32,
  addition_time_embed_dim: 256,
  sample_size: 64,
  scaling_factor: 0.18215,
  towers: [openAi("cond_stage_model.transformer.")],
  scheduler: schedulers.pndm,
  assumed: null,
};
const sd2: Family = {
  ...sd1,
  heads: (channels) => channels / 64,
  sample_size: 96,
  towers: [openClip("cond_stage_model.model.", 23)],
  // Neither names nor shapes tell 2.1-768 from the 512 "base" models, which predict epsilon: diffusers' loader takes all for the former.
  scheduler: schedulers.ddimV,
  assumed:
    'taken for SD 2.x at 768 pixels, which predicts v, as diffusers does: an SD 2.x "base" model, which predicts epsilon, wants prediction_type epsilon',
};

export const families = {
  sd1,
  sd2,
  // The published inpainting model is of the 512 kind.
  sd2_inpainting: { ...sd2, sample_size: 64, scheduler: schedulers.pndm, assumed: null },
  // SD-Turbo: SD 2.1 distilled, and stored in the layout of SDXL's code.
  sd_turbo: {
    ...sd2,
    sample_size: 64,
    towers: [openClip("conditioner.embedders.0.model.", 23)],
    scheduler: schedulers.turbo,
    assumed: null,
  },
  sdxl: {
    ...sd2,
    sample_size: 128,
    scaling_factor: 0.13025,
    towers: [
      openAi("conditioner.embedders.0.transformer."),
      { ...openClip("conditioner.embedders.1.model.", 32), names: "openClipPooled" },
    ],
    scheduler: schedulers.euler,
    assumed: null,
  },
} satisfies Record<string, Family>;
