import { existsSync } from "node:fs";
import { join } from "node:path";
import { type Checkpoint, findCheckpoint, readJson } from "./checkpoint.ts";
import {
  type ControlnetConfig,
  clipConfig,
  controlnetConfig,
  parseConfig,
  type UnetConfig,
  UnsupportedError,
  unetConfig,
  vaeConfig,
} from "./config.ts";
import { controlnet, hintEncoder } from "./controlnet.ts";
import { requireFit } from "./fit.ts";
import { requireEntries } from "./index-entries.ts";
import { requireLevels } from "./levels.ts";
import { storedNetwork, storedNetworks } from "./network.ts";
import type { BaseModel, ControlNet, TextTower } from "./opened.ts";
import { refuseForeignFile } from "./recognize.ts";
import { naming, requireClass } from "./recognize-class.ts";
import { requireIndex } from "./recognize-folder.ts";
import { openSafetyChecker, SAFETY_CHECKER, type SafetyChecker } from "./safety-checker.ts";
import { readScheduler } from "./scheduler-file.ts";
import { shallowControlNet, shallowUnet } from "./shallow.ts";
import { openTower, requireNoMask, textConfig } from "./text-tower.ts";
import { findTinyDecoder } from "./tiny-decoder.ts";
import { unet } from "./unet.ts";
import { shownBeside } from "./unet-inputs.ts";
import { unionHintEncoder, unionOf } from "./union.ts";
import { requireRead } from "./unread.ts";
import { vaeDecoder, vaeEncoder } from "./vae.ts";

/** Pipelines of diffusers whose checkpoints are the networks that are built here, with the number of their text towers. */
const PIPELINES: Readonly<Record<string, 1 | 2>> = {
  StableDiffusionPipeline: 1,
  StableDiffusionImg2ImgPipeline: 1,
  StableDiffusionInpaintPipeline: 1,
  StableDiffusionControlNetPipeline: 1,
  StableDiffusionControlNetImg2ImgPipeline: 1,
  StableDiffusionControlNetInpaintPipeline: 1,
  StableDiffusionInstructPix2PixPipeline: 1,
  LatentConsistencyModelPipeline: 1,
  LatentConsistencyModelImg2ImgPipeline: 1,
  StableDiffusionXLPipeline: 2,
  StableDiffusionXLImg2ImgPipeline: 2,
  StableDiffusionXLInpaintPipeline: 2,
  StableDiffusionXLControlNetPipeline: 2,
  StableDiffusionXLControlNetImg2ImgPipeline: 2,
  StableDiffusionXLControlNetInpaintPipeline: 2,
  StableDiffusionXLInstructPix2PixPipeline: 2,
};

/** The stem of diffusers' weight files. */
const WEIGHTS = "diffusion_pytorch_model";

/** Components that a picture does not need: skipped, and the user is told. */
const SKIPPED = ["feature_extractor", "image_encoder"];

/** The safety checker beside a model's parts, whatever its index says of one. One that cannot be run is none, with a warning. */
function findSafetyChecker(folder: string, isNamed: boolean, warnings: string[]): SafetyChecker | null {
  const own = join(folder, SAFETY_CHECKER);
  if (!existsSync(own)) {
    if (isNamed) warnings.push("safety_checker is not run");
    return null;
  }
  try {
    return openSafetyChecker(own, join(folder, "feature_extractor"));
  } catch (error) {
    warnings.push(`safety_checker cannot be run: ${(error as Error).message}`);
    return null;
  }
}

type Index = Record<string, unknown>;

/** The pipeline that a model_index.json is of, with the number of its text towers. @throws UnsupportedError */
export function pipelineOf(index: Index): { pipeline: string; towers: 1 | 2 } {
  const { _class_name: name } = index;
  if (Array.isArray(name)) {
    throw new UnsupportedError(`model_index.json: a pipeline with code of its own, ${name.join(" of ")}, is not run`);
  }
  const pipeline = String(name);
  const towers = PIPELINES[pipeline];
  if (towers === undefined) {
    const known = Object.keys(PIPELINES).join(", ");
    throw new UnsupportedError(`model_index.json: ${naming(pipeline)} is not one of ${known}`);
  }
  return { pipeline, towers };
}

/** Each part that a picture needs, and the classes of diffusers or transformers that it may be of. */
const PARTS = {
  unet: ["UNet2DConditionModel"],
  vae: ["AutoencoderKL"],
  text_encoder: ["CLIPTextModel", "CLIPTextModelWithProjection"],
  text_encoder_2: ["CLIPTextModelWithProjection"],
} as const;
type Part = keyof typeof PARTS;

/** A part's config.json. @throws UnsupportedError when the part is left out, or of another class */
function partConfig(folder: string, index: Index, part: Part, pipeline: string): object {
  const entry = index[part];
  if (Array.isArray(entry)) {
    if (entry[0] === null) {
      throw new UnsupportedError(`model_index.json: a ${pipeline} without ${part} is not supported`);
    }
    requireClass({ _class_name: entry[1] }, `model_index.json: ${part}`, ...PARTS[part]);
  }
  const json = readJson(join(folder, part, "config.json"));
  requireClass(json, `${part}/config.json`, ...PARTS[part]);
  return json;
}

/** Latent cells of a side, which diffusers' StableDiffusionPipeline takes (`__init__`) where a config from before 0.9 has fewer. */
const LEAST_OLD_SIZE = 64;

function withMendedSize(unet: UnetConfig, json: { _diffusers_version?: unknown }): UnetConfig {
  const isOld = /^0\.[0-8]\./.test(String(json._diffusers_version));
  const isSmall = typeof unet.sample_size === "number" && unet.sample_size < LEAST_OLD_SIZE;
  return isOld && isSmall ? { ...unet, sample_size: LEAST_OLD_SIZE } : unet;
}

/**
 * A base model in the diffusers layout, its parts checked against each other.
 * @throws CheckpointError, ShapeError, UnsupportedError
 */
export function openBase(folder: string): BaseModel {
  requireIndex(folder);
  const index = readJson(join(folder, "model_index.json")) as Index;
  const { pipeline, towers } = pipelineOf(index);
  requireEntries(index, towers);
  const present = (part: string) => Array.isArray(index[part]) && index[part][0] !== null;
  const warnings: string[] = [];
  const safety_checker = findSafetyChecker(folder, present(SAFETY_CHECKER), warnings);
  const unneeded = SKIPPED.filter(
    (part) => present(part) && !(part === "feature_extractor" && safety_checker !== null),
  );
  warnings.push(...unneeded.map((part) => `${part} is not run`));

  const config = (part: Part) => partConfig(folder, index, part, pipeline);
  const unetJson = config("unet");
  const unetParsed = parseConfig(unetConfig, unetJson, "unet/config.json", warnings);
  const unetSettings = towers === 1 ? withMendedSize(unetParsed, unetJson) : unetParsed;
  requireLevels(unetSettings, "unet/config.json");
  const vaeSettings = parseConfig(vaeConfig, config("vae"), "vae/config.json", warnings);
  const text = (["text_encoder", "text_encoder_2"] as const).slice(0, towers).map((part): TextTower => {
    const json = textConfig(config(part));
    if (towers === 1) requireNoMask(json, part);
    return openTower(folder, part, parseConfig(clipConfig, json, `${part}/config.json`, warnings));
  });
  requireFit(unetSettings, vaeSettings, text);
  if (/InstructPix2Pix/.test(pipeline) && shownBeside({ unet: unetSettings, vae: vaeSettings }) !== "image") {
    throw new UnsupportedError(
      `model_index.json: a ${pipeline} whose U-Net takes ${unetSettings.in_channels} channels`,
    );
  }

  const unetCheckpoint = findCheckpoint(join(folder, "unet"), WEIGHTS);
  const vae = findCheckpoint(join(folder, "vae"), WEIGHTS);
  const networks = {
    unet: storedNetwork(unetCheckpoint, (w) => unet(w, unetSettings)),
    shallow: storedNetworks(unetCheckpoint, (w, branch) => shallowUnet(w, unetSettings, branch)),
    vae_decoder: storedNetwork(vae, (w) => vaeDecoder(w, vaeSettings)),
    vae_encoder: storedNetwork(vae, (w) => vaeEncoder(w, vaeSettings)),
    tiny_decoder: findTinyDecoder(folder, vaeSettings.latent_channels, warnings),
  };
  requireRead(unetCheckpoint.tensors.keys(), [networks.unet], "unet");
  requireRead(vae.tensors.keys(), [networks.vae_decoder, networks.vae_encoder], "vae");
  return {
    folder,
    unet: unetSettings,
    vae: vaeSettings,
    text,
    // One that is absent counts as true in diffusers, null as false.
    force_zeros_for_empty_prompt: Boolean(
      index.force_zeros_for_empty_prompt === undefined || index.force_zeros_for_empty_prompt,
    ),
    scales_image_latents: index.is_cosxl_edit === true,
    scheduler: readScheduler(folder, index, warnings),
    assumed: null,
    weights: unetCheckpoint,
    networks,
    safety_checker,
    warnings,
  };
}

/** A ControlNet of a config and its tensors under diffusers' names. @throws as openBase */
export function controlNetOf(
  settings: ControlnetConfig,
  checkpoint: Checkpoint,
  warnings: readonly string[],
): ControlNet {
  requireLevels(settings, "config.json");
  const union = unionOf(checkpoint.tensors, settings);
  const config = union === null ? settings : { ...settings, union };
  const networks = {
    hint: storedNetwork(checkpoint, (w) =>
      union === null ? hintEncoder(w, config) : unionHintEncoder(w, config, union),
    ),
    controlnet: storedNetwork(checkpoint, (w) => controlnet(w, config)),
    shallow: storedNetworks(checkpoint, (w, branch) => shallowControlNet(w, config, branch)),
  };
  requireRead(checkpoint.tensors.keys(), [networks.hint, networks.controlnet], "ControlNet");
  return { config, networks, warnings };
}

/**
 * A ControlNet in the diffusers layout.
 * @param suffix of further weights in the folder ("_promax"), and of their config where they have one of their own
 * @throws as openBase
 */
export function openControlNet(folder: string, suffix = ""): ControlNet {
  const own = join(folder, `config${suffix}.json`);
  const json = readJson(existsSync(own) ? own : join(folder, "config.json"));
  requireClass(json, "config.json", "ControlNetModel", "ControlNetUnionModel");
  const checkpoint = findCheckpoint(folder, `${WEIGHTS}${suffix}`);
  refuseForeignFile(checkpoint.tensors, "controlnets");
  const warnings: string[] = [];
  return controlNetOf(parseConfig(controlnetConfig, json, "config.json", warnings), checkpoint, warnings);
}
