/** Where tiny autoencoders lie: beside a model's own parts, or on a shelf for all models of a family. */
import { existsSync, readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { findCheckpoint, readJson } from "./checkpoint.ts";
import { parseConfig, tinyVaeConfig } from "./config.ts";
import { type Network, storedNetwork } from "./network.ts";
import { requireClass } from "./recognize-class.ts";
import { tinyDecoder } from "./tiny-vae.ts";

const CLASS = "AutoencoderTiny";

export interface TinyDecoder {
  readonly latent_channels: number;
  readonly network: Network;
}

/** An AutoencoderTiny's folder. @throws CheckpointError, UnsupportedError, ShapeError */
export function openTinyDecoder(folder: string): TinyDecoder {
  const name = `${basename(folder)}/config.json`;
  const json = readJson(join(folder, "config.json")) as object;
  requireClass(json, name, CLASS);
  const settings = parseConfig(tinyVaeConfig, json, name);
  const checkpoint = findCheckpoint(folder, "diffusion_pytorch_model");
  return {
    latent_channels: settings.latent_channels,
    network: storedNetwork(checkpoint, (w) => tinyDecoder(w, settings)),
  };
}

/** Why a decoder cannot be a model's, with both shapes; null when it can. */
export function tinyDecoderMisfit(name: string, { latent_channels: own }: TinyDecoder, needed: number): string | null {
  const [takes, has] = [own, needed].map((channels) => `[B, ${channels}, h, w]`);
  return own === needed
    ? null
    : `${name} takes latents of ${takes}, the model has ${has}: previews are made without it`;
}

/** The decoder that somebody put beside the model's own parts, whatever its folder is called. */
export function findTinyDecoder(folder: string, latents: number, warnings: string[]): Network | null {
  for (const entry of readdirSync(folder)) {
    const file = join(folder, entry, "config.json");
    const json = existsSync(file) ? (readJson(file) as Record<string, unknown>) : {};
    if (json._class_name !== CLASS) continue;
    const decoder = openTinyDecoder(join(folder, entry));
    const reason = tinyDecoderMisfit(entry, decoder, latents);
    if (reason === null) return decoder.network;
    warnings.push(reason);
  }
  return null;
}
