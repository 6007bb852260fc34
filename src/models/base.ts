import { join } from "node:path";
import { type Checkpoint, findCheckpoint, readJson } from "./checkpoint.ts";
import { clip } from "./clip.ts";
import {
  type ClipConfig,
  type ControlnetConfig,
  clipConfig,
  controlnetConfig,
  parseConfig,
  type UnetConfig,
  UnsupportedError,
  unetConfig,
  type VaeConfig,
  vaeConfig,
} from "./config.ts";
import { controlnet, hintEncoder } from "./controlnet.ts";
import type { Graph } from "./graph.ts";
import { unet } from "./unet.ts";
import { vaeDecoder, vaeEncoder } from "./vae.ts";
import { StoredWeights, Weights } from "./weights.ts";

/** Pipelines of diffusers whose checkpoints are the networks that are built here. */
const PIPELINES = ["StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionControlNetPipeline"];

/** Components that a picture does not need: skipped, and the user is told. */
const SKIPPED = ["safety_checker", "feature_extractor", "image_encoder"];

/** One network of a checkpoint: its graph is built when it is asked for, which costs milliseconds. */
export interface Network {
  graph(): Graph;
  /** What its weights take in memory, as float32. */
  readonly weightBytes: number;
}

export interface BaseModel {
  readonly folder: string;
  readonly unet: UnetConfig;
  readonly vae: VaeConfig;
  readonly clip: ClipConfig;
  /** scheduler_config.json as it stands. */
  readonly scheduler: object;
  readonly tokenizerFolder: string;
  readonly networks: {
    readonly text_encoder: Network;
    readonly unet: Network;
    readonly vae_decoder: Network;
    readonly vae_encoder: Network;
  };
  readonly warnings: readonly string[];
}

/** Builds the graph once, so that whatever config and weights disagree about is known now. */
function network({ tensors, folder }: Checkpoint, build: (weights: Weights) => Uint8Array): Network {
  const stored = new StoredWeights(tensors);
  const weights = new Weights(stored);
  build(weights);
  return { graph: () => ({ bytes: build(weights), folder }), weightBytes: stored.usedBytes };
}

/**
 * A base model in the diffusers layout, its parts checked against each other.
 * @throws CheckpointError, ShapeError, UnsupportedError
 */
export function openBase(folder: string): BaseModel {
  const index = readJson(join(folder, "model_index.json")) as Record<string, unknown>;
  const pipeline = String(index._class_name);
  if (!PIPELINES.includes(pipeline)) {
    throw new UnsupportedError(`model_index.json: "${pipeline}" is not one of ${PIPELINES.join(", ")}`);
  }
  const present = (part: string) => Array.isArray(index[part]) && index[part][0] !== null;
  const warnings = SKIPPED.filter(present).map((part) => `${part} is not run`);

  const config = (part: string, file = "config.json") => readJson(join(folder, part, file));
  const unetSettings = parseConfig(unetConfig, config("unet"), "unet/config.json");
  const vaeSettings = parseConfig(vaeConfig, config("vae"), "vae/config.json");
  const clipSettings = parseConfig(clipConfig, config("text_encoder"), "text_encoder/config.json");
  if (clipSettings.hidden_size !== unetSettings.cross_attention_dim) {
    throw new UnsupportedError(
      `the text encoder gives [B, 77, ${clipSettings.hidden_size}], the U-Net needs [B, 77, ${unetSettings.cross_attention_dim}]`,
    );
  }
  if (
    vaeSettings.latent_channels !== unetSettings.in_channels ||
    unetSettings.out_channels !== unetSettings.in_channels
  ) {
    throw new UnsupportedError(
      `the U-Net takes [B, ${unetSettings.in_channels}, h, w] and gives [B, ${unetSettings.out_channels}, h, w], the VAE has [B, ${vaeSettings.latent_channels}, h, w]`,
    );
  }

  const vae = findCheckpoint(join(folder, "vae"), "diffusion_pytorch_model");
  const networks = {
    text_encoder: network(findCheckpoint(join(folder, "text_encoder"), "model"), (w) => clip(w, clipSettings)),
    unet: network(findCheckpoint(join(folder, "unet"), "diffusion_pytorch_model"), (w) => unet(w, unetSettings)),
    vae_decoder: network(vae, (w) => vaeDecoder(w, vaeSettings)),
    vae_encoder: network(vae, (w) => vaeEncoder(w, vaeSettings)),
  };
  return {
    folder,
    unet: unetSettings,
    vae: vaeSettings,
    clip: clipSettings,
    scheduler: config("scheduler", "scheduler_config.json"),
    tokenizerFolder: join(folder, "tokenizer"),
    networks,
    warnings,
  };
}

export interface ControlNet {
  readonly config: ControlnetConfig;
  readonly networks: { readonly hint: Network; readonly controlnet: Network };
}

/** A ControlNet in the diffusers layout. @throws as openBase */
export function openControlNet(folder: string): ControlNet {
  const config = parseConfig(controlnetConfig, readJson(join(folder, "config.json")), "config.json");
  const checkpoint = findCheckpoint(folder, "diffusion_pytorch_model");
  return {
    config,
    networks: {
      hint: network(checkpoint, (w) => hintEncoder(w, config)),
      controlnet: network(checkpoint, (w) => controlnet(w, config)),
    },
  };
}
