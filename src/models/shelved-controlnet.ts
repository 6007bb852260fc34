/** ControlNets as they stand on their shelf: whole ones, and differences, which are ControlNets beside a base model alone. */
import { existsSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { openControlNet } from "./base.ts";
import { readCheckpoint } from "./checkpoint.ts";
import type { Union } from "./config.ts";
import { controlNetOn, isDifference, readDifference } from "./controlnet-difference.ts";
import { skipChannels } from "./encoder.ts";
import { misfit } from "./fit.ts";
import type { BaseModel, ControlNet } from "./opened.ts";
import { count } from "./original-names.ts";
import { openSingleFileControlNet } from "./single-file.ts";

export interface ShelvedControlNet {
  readonly residuals: number;
  readonly global_pool_conditions: boolean;
  readonly union: Union | null;
  readonly warnings: readonly string[];
  /** The ControlNet beside a base model, the same one each time. @throws Error that says why it does not fit, where it is a difference */
  on(base: BaseModel): ControlNet;
}

const whole = (one: ControlNet): ShelvedControlNet => ({
  residuals: skipChannels(one.config).length + 1,
  global_pool_conditions: one.config.global_pool_conditions,
  union: one.config.union ?? null,
  warnings: one.warnings,
  on: () => one,
});

export const openShelvedFolder = (folder: string): ShelvedControlNet => whole(openControlNet(folder));

/** Another ControlNet's weights in the folder of one, as xinsir publishes the Union and ProMax. */
export const FURTHER = /^diffusion_pytorch_model(_\w+)\.safetensors$/;

/** @throws as openSingleFileControlNet */
export function openShelvedFile(file: string): ShelvedControlNet {
  const [, suffix] = FURTHER.exec(basename(file)) ?? [];
  const folder = dirname(file);
  if (suffix !== undefined && existsSync(join(folder, "config.json"))) return whole(openControlNet(folder, suffix));
  const checkpoint = readCheckpoint(file);
  if (!isDifference(checkpoint.tensors)) return whole(openSingleFileControlNet(file));
  const difference = readDifference(checkpoint);
  const made = new WeakMap<BaseModel, ControlNet>();
  return {
    residuals: count(difference.tensors.keys(), "controlnet_down_blocks") + 1,
    global_pool_conditions: false,
    union: null,
    warnings: [],
    on(base) {
      const one = made.get(base) ?? controlNetOn(base, difference);
      made.set(base, one);
      return one;
    },
  };
}

/** Why a ControlNet cannot add to a base model's U-Net; null when it can. */
export function shelvedMisfit(base: BaseModel, one: ShelvedControlNet): string | null {
  try {
    return misfit(base.unet, one.on(base).config);
  } catch (error) {
    return `it is stored as a difference from another model: ${(error as Error).message}`;
  }
}
