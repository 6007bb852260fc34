/** What an opened checkpoint is: configs, and networks whose weights stay in their files. */
import type { Checkpoint } from "./checkpoint.ts";
import type { ClipConfig, ControlnetConfig, UnetConfig, VaeConfig } from "./config.ts";
import type { Network } from "./network.ts";
import type { SafetyChecker } from "./safety-checker.ts";

/** A text encoder with the tokenizer that feeds it. */
export interface TextTower {
  readonly config: ClipConfig;
  readonly tokenizerFolder: string;
  readonly network: Network;
}

export interface BaseModel {
  readonly folder: string;
  readonly unet: UnetConfig;
  readonly vae: VaeConfig;
  /** One, or SDXL's two. */
  readonly text: readonly TextTower[];
  /** SDXL: whether an absent negative prompt is zeros instead of the empty text. */
  readonly force_zeros_for_empty_prompt: boolean;
  /** CosXL Edit is shown the image's latents scaled as those that it makes, instruct-pix2pix as the VAE gives them. */
  readonly scales_image_latents: boolean;
  /** scheduler_config.json as it stands. */
  readonly scheduler: object;
  /** The U-Net's tensors, as diffusers names them. */
  readonly weights: Checkpoint;
  readonly networks: {
    readonly unet: Network;
    /** The U-Net's outer part (shallow.ts), the same network each time. */
    readonly shallow: (branch: number) => Network;
    readonly vae_decoder: Network;
    readonly vae_encoder: Network;
    /** For previews. */
    readonly tiny_decoder: Network | null;
  };
  /** What says of a picture whether it may be shown. */
  readonly safety_checker: SafetyChecker | null;
  /** What was assumed of the prediction, which its file does not say: told to requests that do not settle it. */
  readonly assumed: string | null;
  readonly warnings: readonly string[];
}

export interface ControlNet {
  readonly config: ControlnetConfig;
  readonly networks: {
    readonly hint: Network;
    readonly controlnet: Network;
    readonly shallow: (branch: number) => Network;
  };
  readonly warnings: readonly string[];
}
