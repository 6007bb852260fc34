/** What the demo checkpoint is made of: Stable Diffusion 1.5's networks, small. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SIDE } from "./world/landscape.ts";

/** Width of the text that the U-Net reads. */
const TEXT = 64;
const LEVELS = 4;
const GROUPS = 8;

/** Of the VAE while it is trained: outlines as sharp as these scenes have them do not fit into Stable Diffusion's four numbers a cell … */
const TRAINED_LATENTS = 8;
/** … but their strongest four directions hold nearly all of it: those are kept, see latents.ts. */
export const LATENTS = 4;

const VAE = {
  _class_name: "AutoencoderKL",
  in_channels: 3,
  out_channels: 3,
  latent_channels: TRAINED_LATENTS,
  block_out_channels: [16, 32, 64, 96],
  layers_per_block: 1,
  down_block_types: Array(LEVELS).fill("DownEncoderBlock2D"),
  up_block_types: Array(LEVELS).fill("UpDecoderBlock2D"),
  norm_num_groups: GROUPS,
  sample_size: SIDE,
};

const UNET = {
  _class_name: "UNet2DConditionModel",
  sample_size: SIDE / 2 ** (LEVELS - 1),
  in_channels: LATENTS,
  out_channels: LATENTS,
  block_out_channels: [64, 48, 48, 32],
  layers_per_block: 2,
  // Attention over the 16×16 cells of the first level would take as long as all the rest; its convolutions are wider instead.
  down_block_types: ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
  up_block_types: ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
  attention_head_dim: 4, // heads, as diffusers misnames them
  cross_attention_dim: TEXT,
  norm_num_groups: GROUPS,
};

const textEncoder = (vocabulary: number) => ({
  architectures: ["CLIPTextModel"],
  model_type: "clip_text_model",
  hidden_act: "quick_gelu",
  hidden_size: TEXT,
  intermediate_size: 4 * TEXT,
  num_attention_heads: 4,
  num_hidden_layers: 2,
  projection_dim: TEXT,
  max_position_embeddings: 77,
  vocab_size: vocabulary,
  bos_token_id: vocabulary - 2,
  eos_token_id: vocabulary - 1,
});

/**
 * Velocity as in 2.x: a small network's mistakes at high noise then stay small. But the noise of Ho et al. 2020, which leaves nothing to
 * be seen of the last third of the timesteps: in Stable Diffusion's, what hour it is and what colour a thing has still shows in 16×16
 * cells at the very end, so that the words which say it would teach the network nothing. Drawn with fresh noise in each step, which
 * mends what earlier steps got wrong: with DDIM, this small network draws several suns, and people without heads.
 */
const SCHEDULER = {
  _class_name: "EulerAncestralDiscreteScheduler",
  beta_start: 0.0001,
  beta_end: 0.02,
  beta_schedule: "linear",
  num_train_timesteps: 1000,
  prediction_type: "v_prediction",
  clip_sample: false,
  set_alpha_to_one: false,
  steps_offset: 1,
};

const INDEX = {
  _class_name: "StableDiffusionPipeline",
  scheduler: ["diffusers", "EulerAncestralDiscreteScheduler"],
  text_encoder: ["transformers", "CLIPTextModel"],
  tokenizer: ["transformers", "CLIPTokenizer"],
  unet: ["diffusers", "UNet2DConditionModel"],
  vae: ["diffusers", "AutoencoderKL"],
  safety_checker: [null, null],
  feature_extractor: [null, null],
};

/** A base model's folder with configs and no weights: what a training from nothing starts from. */
export function writeConfigs(folder: string, vocabulary: number): void {
  const files: Readonly<Record<string, object>> = {
    "vae/config.json": VAE,
    "unet/config.json": UNET,
    "text_encoder/config.json": textEncoder(vocabulary),
    "tokenizer/tokenizer_config.json": { model_max_length: textEncoder(vocabulary).max_position_embeddings },
    "scheduler/scheduler_config.json": SCHEDULER,
    "model_index.json": INDEX, // last: its being there says that all are
  };
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(folder, name, ".."), { recursive: true });
    writeFileSync(join(folder, name), `${JSON.stringify(content, null, 2)}\n`);
  }
}

/** A ControlNet's: the base's encoder, and a hint encoder that widens where the map has become small. */
export function writeControlnetConfig(folder: string): void {
  const { out_channels: _, up_block_types: __, sample_size: ___, ...encoder } = UNET;
  const config = {
    ...encoder,
    _class_name: "ControlNetModel",
    conditioning_channels: 3,
    conditioning_embedding_out_channels: [8, 16, 24, 48],
  };
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "config.json"), `${JSON.stringify(config, null, 2)}\n`);
}
