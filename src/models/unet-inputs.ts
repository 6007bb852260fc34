/** What a U-Net is shown beside the latents, in further channels of its sample. */
import type { UnetConfig, VaeConfig } from "./config.ts";

/** nothing; for inpainting a mask and the masked image's latents; for instruct-pix2pix (arXiv 2211.09800) the latents of an image. */
export type Shown = "nothing" | "masked image" | "image";

/** By the number of input channels; null = none of these. */
export function shownBeside({
  unet,
  vae,
}: {
  readonly unet: Pick<UnetConfig, "in_channels">;
  readonly vae: Pick<VaeConfig, "latent_channels">;
}): Shown | null {
  const latents = vae.latent_channels;
  const kinds: Readonly<Record<number, Shown>> = {
    [latents]: "nothing",
    [2 * latents + 1]: "masked image",
    [2 * latents]: "image",
  };
  return kinds[unet.in_channels] ?? null;
}
