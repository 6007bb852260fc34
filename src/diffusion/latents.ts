/** Between a VAE's latents and the U-Net's: scaled, and for VAEs that say so centred channel by channel. */
import type { VaeConfig } from "../models/config.ts";

/** What of a model its latents' scale depends on: of its text encoders, how many there are. */
export interface Scaled {
  readonly vae: VaeConfig;
  readonly text: readonly unknown[];
}

/**
 * latents_mean and latents_std [C], where they count: diffusers' SDXL pipelines, of two text encoders, heed them, those of SD 1.x
 * and 2.x do not.
 */
function moments({ vae, text }: Scaled): { mean: readonly number[]; std: readonly number[] } | null {
  const { latents_mean: mean, latents_std: std } = vae;
  return text.length > 1 && mean !== null && std !== null ? { mean, std } : null;
}

/** [C, h, w] of the VAE → of the U-Net. (diffusers' inpainting pipelines leave the mean out here, though not below: not followed.) */
export function toModel(model: Scaled, latents: Float64Array): Float32Array {
  const { scaling_factor: scale, latent_channels: channels } = model.vae;
  const own = moments(model);
  if (own === null) return Float32Array.from(latents, (value) => value * scale);
  const plane = latents.length / channels;
  return Float32Array.from(latents, (value, i) => {
    const c = Math.floor(i / plane);
    return ((value - own.mean[c]!) * scale) / own.std[c]!;
  });
}

/** The other way. */
export function toVae(model: Scaled, latents: Float32Array): Float32Array {
  const { scaling_factor: scale, latent_channels: channels } = model.vae;
  const own = moments(model);
  if (own === null) return latents.map((value) => value / scale);
  const plane = latents.length / channels;
  return latents.map((value, i) => {
    const c = Math.floor(i / plane);
    return (value * own.std[c]!) / scale + own.mean[c]!;
  });
}
