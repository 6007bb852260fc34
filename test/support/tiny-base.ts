/** A base model for trainings that take no time. */
import { cpSync } from "node:fs";
import { basename, join } from "node:path";
import { parseConfig, unetConfig } from "../../src/models/config.ts";
import { initialize, unetShapes } from "../../src/training/initialize.ts";
import { writeComponent } from "../../workers/train/components.ts";

/** Two levels and one layer a level: opened in a tenth of the time of a whole Stable Diffusion. */
export const UNET = {
  block_out_channels: [16, 32],
  down_block_types: ["CrossAttnDownBlock2D", "DownBlock2D"],
  up_block_types: ["UpBlock2D", "CrossAttnUpBlock2D"],
  layers_per_block: 1,
  cross_attention_dim: 32,
  norm_num_groups: 8,
  attention_head_dim: 4,
};

/** The same for SDXL: it is told of the pooled text of 32 numbers, and of sizes by 8 each. */
export const XL_UNET = {
  ...UNET,
  down_block_types: ["DownBlock2D", "CrossAttnDownBlock2D"],
  up_block_types: ["CrossAttnUpBlock2D", "UpBlock2D"],
  transformer_layers_per_block: [1, 2],
  cross_attention_dim: 64,
  attention_head_dim: [2, 4],
  use_linear_projection: true,
  addition_embed_type: "text_time",
  addition_time_embed_dim: 8,
  projection_class_embeddings_input_dim: 80,
};

const FAMILIES = { sd15: UNET, sdxl: XL_UNET };

/** The fixture's Stable Diffusion 1.5, or its SDXL, with such a U-Net, of random weights. */
export function writeTinyBase(folder: string, family: keyof typeof FAMILIES = "sd15"): void {
  const fixture = join(import.meta.dirname, "../fixtures", family, "base");
  cpSync(fixture, folder, { recursive: true, filter: (file) => basename(file) !== "unet" });
  const config = FAMILIES[family];
  const unet = initialize(unetShapes(parseConfig(unetConfig, config, "unet")), 1);
  writeComponent(join(folder, "unet"), "diffusion_pytorch_model", config, unet.tensors, "F32");
}
