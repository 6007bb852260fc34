/** A base model for trainings that take no time. */
import { cpSync } from "node:fs";
import { basename, join } from "node:path";
import { parseConfig, unetConfig } from "../../src/models/config.ts";
import { initialize, unetShapes } from "../../src/training/initialize.ts";
import { writeComponent } from "../../workers/train/components.ts";

const FIXTURE = join(import.meta.dirname, "../fixtures/sd15/base");

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

/** The fixture's Stable Diffusion 1.5 with such a U-Net, of random weights. */
export function writeTinyBase(folder: string): void {
  cpSync(FIXTURE, folder, { recursive: true, filter: (file) => basename(file) !== "unet" });
  const unet = initialize(unetShapes(parseConfig(unetConfig, UNET, "unet")), 1);
  writeComponent(join(folder, "unet"), "diffusion_pytorch_model", UNET, unet.tensors, "F32");
}
