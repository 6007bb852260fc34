/** A base model's folder, read piece by piece: what is to be trained from nothing has configs and no weights yet. */

import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { defaultScheduler } from "../../src/diffusion/own-scheduler.ts";
import { alphasCumprod } from "../../src/diffusion/schedule.ts";
import { SchedulerConfigError } from "../../src/diffusion/scheduler-config.ts";
import { schedulerConfig } from "../../src/diffusion/scheduler-table.ts";
import { type Checkpoint, findCheckpoint, readJson } from "../../src/models/checkpoint.ts";
import {
  clipConfig,
  parseConfig,
  type UnetConfig,
  UnsupportedError,
  unetConfig,
  type VaeConfig,
  vaeConfig,
} from "../../src/models/config.ts";
import type { BaseModel } from "../../src/models/opened.ts";
import { CELL, cellOf } from "../../src/models/vae.ts";
import { SCHEDULER_FACTS } from "../../src/schema/schedulers.ts";
import type { Block } from "../../src/training/parameters.ts";
import { type FloatDType, readParameters, writeSafetensors } from "../../src/training/stored.ts";
import { waitForSpace } from "./checkpoint.ts";

const read = (base: string, part: string) => readJson(join(base, part, "config.json"));
export const readUnet = (base: string) => parseConfig(unetConfig, read(base, "unet"), "unet/config.json");
export const readVae = (base: string) => parseConfig(vaeConfig, read(base, "vae"), "vae/config.json");
export const readClip = (base: string) =>
  parseConfig(clipConfig, read(base, "text_encoder"), "text_encoder/config.json");

/** How a base is noised in training: ᾱ_t of each timestep, and what its U-Net predicts. */
export function readNoising(base: string) {
  const raw = readJson(join(base, "scheduler", "scheduler_config.json")) as Record<string, unknown>;
  const config = schedulerConfig("ddpm", raw);
  return { alphas: alphasCumprod(config), prediction: config.prediction_type };
}

/** In what a ControlNet's copy of the U-Net can be stored. */
const STORED: readonly string[] = ["F32", "F16", "BF16", "F64"];

/**
 * Why no ControlNet can be trained for a base; null when one can. A ControlNet has a middle block, and as many layers on each
 * level; and it is trained over the betas and the timesteps of a DDPM.
 */
export function untrainable({ unet, vae, scheduler, weights }: BaseModel): string | null {
  if (unet.in_channels !== vae.latent_channels) return "its U-Net is shown a picture too: for inpainting, or for edits";
  if (unet.mid_block_type === null) return "its U-Net has no middle block";
  if (typeof unet.layers_per_block !== "number") return "the levels of its U-Net have not as many layers each";
  const other = [...weights.tensors.values()].find(({ dtype }) => !STORED.includes(dtype));
  if (other !== undefined) return `its U-Net is stored as ${other.dtype}`;
  const raw = scheduler as Record<string, unknown>;
  try {
    const own = defaultScheduler(raw).scheduler;
    if (SCHEDULER_FACTS[own].noise === "edm") return "its noise is EDM's";
    if (schedulerConfig(own, raw).timestep_type === "continuous") return "its timesteps are continuous";
    schedulerConfig("ddpm", raw);
  } catch (error) {
    if (error instanceof SchedulerConfigError) return error.message;
    throw error;
  }
  return null;
}

/** @throws UnsupportedError when no ControlNet can be trained for a base */
export function requireTrainable(base: BaseModel): void {
  const reason = untrainable(base);
  if (reason !== null) throw new UnsupportedError(`no ControlNet can be trained for this model: ${reason}`);
}

/** What a training's resolution is a multiple of: the U-Net halves the latents' sides between its levels. */
export const resolutionMultiple = (unet: UnetConfig) => CELL * 2 ** (unet.block_out_channels.length - 1);

/** @throws UnsupportedError when a U-Net's levels do not halve evenly, or the VAE's cells are not those of hints */
export function requireResolution(resolution: number, unet: UnetConfig, vae: VaeConfig): void {
  const cell = cellOf(vae);
  if (cell !== CELL) {
    throw new UnsupportedError(
      `the VAE's latent cells have ${cell}×${cell} pixels; only ${CELL}×${CELL} can be trained`,
    );
  }
  const multiple = resolutionMultiple(unet);
  if (resolution % multiple !== 0) {
    throw new UnsupportedError(`resolution ${resolution}: this model needs a multiple of ${multiple}`);
  }
}

/** The stems of weight files: diffusers' components, and transformers'. */
export const STEM = { unet: "diffusion_pytorch_model", vae: "diffusion_pytorch_model", text_encoder: "model" };

/** Whether a component has weights, of whatever kind, or is one to start from nothing. */
const hasWeights = (folder: string) => readdirSync(folder).some((name) => name !== "config.json");

/** The stored parameters in a component's folder, or fresh ones where it has none. */
export function parametersOf(folder: string, part: keyof typeof STEM, fresh: () => Block): Block {
  return hasWeights(folder) ? readParameters(findCheckpoint(folder, STEM[part])) : fresh();
}

/** The dtype in which a checkpoint is kept. */
export const dtypeOf = ({ tensors }: Checkpoint): FloatDType =>
  [...tensors.values()].some(({ dtype }) => dtype === "F32") ? "F32" : "F16";

/** A component in the diffusers layout, whole or not at all: made beside its place and moved there. @throws {NoRoom} */
export function writeComponent(
  folder: string,
  stem: string,
  config: object,
  tensors: Block["tensors"],
  dtype: FloatDType,
): void {
  const made = join(dirname(folder), `.${stem}.${process.pid}.part`);
  mkdirSync(dirname(folder), { recursive: true });
  waitForSpace(
    dirname(folder),
    tensors.values().reduce((sum, { data }) => sum + data.byteLength, 0),
  );
  mkdirSync(made, { recursive: true });
  try {
    writeSafetensors(join(made, `${stem}.safetensors`), tensors, dtype);
    writeFileSync(join(made, "config.json"), `${JSON.stringify(config, null, 2)}\n`);
    if (existsSync(folder)) {
      rmSync(folder, { recursive: true });
    }
    renameSync(made, folder);
  } finally {
    rmSync(made, { recursive: true, force: true });
  }
}
