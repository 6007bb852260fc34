import { show } from "../onnx/value.ts";
import { type ControlnetConfig, type UnetConfig, UnsupportedError, type VaeConfig } from "./config.ts";
import { skipChannels } from "./encoder.ts";
import { readsText } from "./levels.ts";
import type { TextTower } from "./opened.ts";
import { shownBeside } from "./unet-inputs.ts";
import { CELL, cellOf } from "./vae.ts";

const PICTURE_CHANNELS = 3;

/** Why a ControlNet cannot add to a U-Net, with both shapes; null when it can. */
export function misfit(unet: UnetConfig, controlnet: ControlnetConfig): string | null {
  if (controlnet.in_channels !== unet.out_channels) {
    return `it takes latents of [B, ${controlnet.in_channels}, h, w], the model has [B, ${unet.out_channels}, h, w]`;
  }
  if (controlnet.conditioning_channels !== PICTURE_CHANNELS) {
    return `its hint is [B, ${controlnet.conditioning_channels}, H, W], pictures are [B, ${PICTURE_CHANNELS}, H, W]`;
  }
  const cell = 2 ** (controlnet.conditioning_embedding_out_channels.length - 1);
  if (cell !== CELL) {
    return `it makes [B, C, H/${cell}, W/${cell}] of a hint, the latents are [B, C, H/${CELL}, W/${CELL}]`;
  }
  const [own, needed] = [skipChannels(controlnet), skipChannels(unet)];
  if (show(own) !== show(needed)) {
    return `its residuals have ${show(own)} channels, the U-Net's skip connections ${show(needed)}`;
  }
  if (readsText(controlnet) && controlnet.cross_attention_dim !== unet.cross_attention_dim) {
    return `it reads text of [B, 77, ${controlnet.cross_attention_dim}], the model gives [B, 77, ${unet.cross_attention_dim}]`;
  }
  if (controlnet.addition_embed_type !== unet.addition_embed_type) {
    const named = (type: string | null) => type ?? "nothing";
    return `beside the timestep it is told ${named(controlnet.addition_embed_type)}, the U-Net ${named(unet.addition_embed_type)}`;
  }
  if (controlnet.projection_class_embeddings_input_dim !== unet.projection_class_embeddings_input_dim) {
    return `its added embedding takes ${controlnet.projection_class_embeddings_input_dim} values, the U-Net's ${unet.projection_class_embeddings_input_dim}`;
  }
  return null;
}

/** How many tokens a tower reads at once. */
function tokensOf({ network }: TextTower): number {
  const ids = network
    .computation()
    .inputs.find((one) => one.source.kind === "input" && one.source.name === "input_ids");
  return Number(ids?.shape[1]);
}

/** Sizes and crops that SDXL's U-Net is told, each as addition_time_embed_dim numbers. */
const TIME_IDS = 6;

/**
 * The parts of a base model against each other; two text towers are joined, and the second one's pooled text goes to the U-Net.
 * @throws UnsupportedError with both shapes
 */
export function requireFit(unet: UnetConfig, vae: VaeConfig, text: readonly TextTower[]): void {
  const width = text.reduce((sum, { config }) => sum + config.hidden_size, 0);
  if (width !== unet.cross_attention_dim) {
    throw new UnsupportedError(
      `the text encoder gives [B, 77, ${width}], the U-Net needs [B, 77, ${unet.cross_attention_dim}]`,
    );
  }
  const lengths = new Set(text.map(tokensOf));
  if (lengths.size > 1) {
    throw new UnsupportedError(`the text encoders read ${[...lengths].join(" and ")} tokens: both must read as many`);
  }
  const [, second] = text;
  // A second tower whose file lacks the projection has no pooled text, whatever its config says.
  const pooled = second?.network.computation().outputs.text_embeds === undefined ? null : second.config.projection_dim;
  const takes =
    unet.addition_embed_type === null
      ? null
      : (unet.projection_class_embeddings_input_dim ?? 0) - TIME_IDS * (unet.addition_time_embed_dim ?? 0);
  if (pooled !== takes) {
    const shape = (size: number | null) => (size === null ? "none" : `[B, ${size}]`);
    throw new UnsupportedError(`the pooled text is ${shape(pooled)}, the U-Net needs ${shape(takes)}`);
  }
  const cell = cellOf(vae);
  if (cell !== CELL) {
    throw new UnsupportedError(
      `the VAE makes [B, C, H/${cell}, W/${cell}] of a picture; only [B, C, H/${CELL}, W/${CELL}] is supported`,
    );
  }
  const latents = vae.latent_channels;
  for (const key of ["latents_mean", "latents_std"] as const) {
    const length = vae[key]?.length ?? latents;
    if (length !== latents)
      throw new UnsupportedError(`the VAE's ${key} has ${length} values, its latents ${latents} channels`);
  }
  const shown = shownBeside({ unet, vae });
  if (shown === "image" && unet.time_cond_proj_dim !== null) {
    throw new UnsupportedError("instruct-pix2pix with a U-Net that is distilled for guidance is not supported");
  }
  if (shown === null || unet.out_channels !== latents) {
    throw new UnsupportedError(
      `the U-Net takes [B, ${unet.in_channels}, h, w] and gives [B, ${unet.out_channels}, h, w], the VAE has [B, ${latents}, h, w]`,
    );
  }
}
