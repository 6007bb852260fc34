import type { ClipConfig, ControlnetConfig, UnetConfig, VaeConfig } from "../models/config.ts";
import type { Tensor } from "../onnx/tensor.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** Runs one network: feeds by input name → outputs by name. Where and how is the caller's business. */
export type Run = (feeds: Readonly<Record<string, Tensor>>) => Promise<Record<string, Tensor>>;

/** A base model as the pipeline needs it. Inputs and outputs of each network: src/models. */
export interface LoadedModel {
  readonly unet: UnetConfig;
  readonly vae: VaeConfig;
  readonly clip: ClipConfig;
  /** scheduler_config.json. */
  readonly scheduler: Readonly<Record<string, unknown>>;
  readonly tokenizer: Tokenizer;
  readonly run: { readonly text_encoder: Run; readonly unet: Run; readonly vae_decoder: Run };
}

export interface LoadedControlNet {
  readonly id: string;
  readonly config: ControlnetConfig;
  readonly run: { readonly hint: Run; readonly controlnet: Run };
}
