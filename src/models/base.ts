import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { findCheckpoint, readJson } from "./checkpoint.ts";
import { clip } from "./clip.ts";
import {
  clipConfig,
  controlnetConfig,
  parseConfig,
  tinyVaeConfig,
  UnsupportedError,
  unetConfig,
  vaeConfig,
} from "./config.ts";
import { controlnet, hintEncoder } from "./controlnet.ts";
import { requireFit } from "./fit.ts";
import { type Network, storedNetwork } from "./network.ts";
import type { BaseModel, ControlNet, TextTower } from "./opened.ts";
import { tinyDecoder } from "./tiny-vae.ts";
import { unet } from "./unet.ts";
import { vaeDecoder, vaeEncoder } from "./vae.ts";

/** Pipelines of diffusers whose checkpoints are the networks that are built here, with the number of their text towers. */
const PIPELINES: Readonly<Record<string, 1 | 2>> = {
  StableDiffusionPipeline: 1,
  StableDiffusionImg2ImgPipeline: 1,
  StableDiffusionInpaintPipeline: 1,
  StableDiffusionControlNetPipeline: 1,
  StableDiffusionControlNetImg2ImgPipeline: 1,
  StableDiffusionControlNetInpaintPipeline: 1,
  LatentConsistencyModelPipeline: 1,
  LatentConsistencyModelImg2ImgPipeline: 1,
  StableDiffusionXLPipeline: 2,
  StableDiffusionXLImg2ImgPipeline: 2,
  StableDiffusionXLInpaintPipeline: 2,
  StableDiffusionXLControlNetPipeline: 2,
  StableDiffusionXLControlNetImg2ImgPipeline: 2,
  StableDiffusionXLControlNetInpaintPipeline: 2,
};

/** Components that a picture does not need: skipped, and the user is told. */
const SKIPPED = ["safety_checker", "feature_extractor", "image_encoder"];

/** The decoder of an AutoencoderTiny that somebody put beside the model's own parts, whatever its folder is called. */
function findTinyDecoder(folder: string, latents: number, warnings: string[]): Network | null {
  for (const entry of readdirSync(folder)) {
    const file = join(folder, entry, "config.json");
    const json = existsSync(file) ? (readJson(file) as Record<string, unknown>) : {};
    if (json._class_name === "AutoencoderTiny") {
      const settings = parseConfig(tinyVaeConfig, json, `${entry}/config.json`);
      if (settings.latent_channels !== latents) {
        const [own, needed] = [settings.latent_channels, latents].map((channels) => `[B, ${channels}, h, w]`);
        warnings.push(`${entry} takes latents of ${own}, the model has ${needed}: previews are made without it`);
        continue;
      }
      return storedNetwork(findCheckpoint(join(folder, entry), "diffusion_pytorch_model"), (w) =>
        tinyDecoder(w, settings),
      );
    }
  }
  return null;
}

/**
 * A base model in the diffusers layout, its parts checked against each other.
 * @throws CheckpointError, ShapeError, UnsupportedError
 */
export function openBase(folder: string): BaseModel {
  const index = readJson(join(folder, "model_index.json")) as Record<string, unknown>;
  const pipeline = String(index._class_name);
  const towers = PIPELINES[pipeline];
  if (towers === undefined) {
    throw new UnsupportedError(`model_index.json: "${pipeline}" is not one of ${Object.keys(PIPELINES).join(", ")}`);
  }
  const present = (part: string) => Array.isArray(index[part]) && index[part][0] !== null;
  const warnings = SKIPPED.filter(present).map((part) => `${part} is not run`);

  const config = (part: string, file = "config.json") => readJson(join(folder, part, file));
  const unetSettings = parseConfig(unetConfig, config("unet"), "unet/config.json");
  const vaeSettings = parseConfig(vaeConfig, config("vae"), "vae/config.json");
  const text = ["", "_2"].slice(0, towers).map((suffix): TextTower => {
    const part = `text_encoder${suffix}`;
    if (Array.isArray(index[part]) && !present(part)) {
      throw new UnsupportedError(`model_index.json: a ${pipeline} without ${part} is not supported`);
    }
    const settings = parseConfig(clipConfig, config(part), `${part}/config.json`);
    return {
      config: settings,
      tokenizerFolder: join(folder, `tokenizer${suffix}`),
      network: storedNetwork(findCheckpoint(join(folder, part), "model"), (w) => clip(w, settings)),
    };
  });
  requireFit(unetSettings, vaeSettings, text);

  const vae = findCheckpoint(join(folder, "vae"), "diffusion_pytorch_model");
  const networks = {
    unet: storedNetwork(findCheckpoint(join(folder, "unet"), "diffusion_pytorch_model"), (w) => unet(w, unetSettings)),
    vae_decoder: storedNetwork(vae, (w) => vaeDecoder(w, vaeSettings)),
    vae_encoder: storedNetwork(vae, (w) => vaeEncoder(w, vaeSettings)),
    tiny_decoder: findTinyDecoder(folder, vaeSettings.latent_channels, warnings),
  };
  return {
    folder,
    unet: unetSettings,
    vae: vaeSettings,
    text,
    force_zeros_for_empty_prompt: index.force_zeros_for_empty_prompt !== false,
    scheduler: config("scheduler", "scheduler_config.json"),
    networks,
    warnings,
  };
}

/** A ControlNet in the diffusers layout. @throws as openBase */
export function openControlNet(folder: string): ControlNet {
  const config = parseConfig(controlnetConfig, readJson(join(folder, "config.json")), "config.json");
  const checkpoint = findCheckpoint(folder, "diffusion_pytorch_model");
  return {
    config,
    networks: {
      hint: storedNetwork(checkpoint, (w) => hintEncoder(w, config)),
      controlnet: storedNetwork(checkpoint, (w) => controlnet(w, config)),
    },
  };
}
