import type { ClipConfig, ControlnetConfig, UnetConfig, VaeConfig } from "../models/config.ts";
import type { Network } from "../models/network.ts";
import type { Tensor } from "../onnx/tensor.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** Runs one network: feeds by input name → outputs by name. Where and how is the caller's business. */
export type Run = (feeds: Readonly<Record<string, Tensor>>) => Promise<Record<string, Tensor>>;

/** A U-Net in two forms: the whole, which tells what came to `branch` from below, and the outer part that goes on from that. */
export interface SplitUnet {
  readonly whole: Run;
  readonly shallow: Run;
}

/** A text encoder with its tokenizer. Inputs and outputs: src/models/clip.ts. */
export interface LoadedTower {
  readonly config: ClipConfig;
  readonly tokenizer: Tokenizer;
  readonly run: Run;
}

/** A base model as the pipeline needs it. Inputs and outputs of each network: src/models. */
export interface LoadedModel {
  readonly unet: UnetConfig;
  readonly vae: VaeConfig;
  /** One, or SDXL's two. */
  readonly text: readonly LoadedTower[];
  /** SDXL: whether an absent negative prompt is zeros instead of the empty text. */
  readonly force_zeros_for_empty_prompt: boolean;
  /** CosXL Edit is shown the image's latents scaled as those that it makes, instruct-pix2pix as the VAE gives them. */
  readonly scales_image_latents: boolean;
  /** What its files do not settle. */
  readonly assumed: string | null;
  /** scheduler_config.json. */
  readonly scheduler: Readonly<Record<string, unknown>>;
  readonly run: {
    readonly unet: Run;
    readonly split: (branch: number) => SplitUnet;
    /** The U-Net with its ControlNets in one (src/models/joint.ts); null = each runs by itself. */
    readonly joint: (controlnets: readonly LoadedControlNet[]) => Run | null;
    readonly vae_decoder: Run;
    readonly vae_encoder: Run;
    readonly tiny_decoder: Run | null;
  };
}

export interface LoadedControlNet {
  readonly config: ControlnetConfig;
  readonly run: { readonly hint: Run; readonly controlnet: Run; readonly shallow: (branch: number) => Run };
  /** What `controlnet` runs. */
  readonly network: Network;
}
