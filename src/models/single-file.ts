/** Checkpoints in one file: the original layout of Stable Diffusion and of ControlNet, and ControlNets in diffusers' without a config. */
import { basename } from "node:path";
import { controlNetOf } from "./base.ts";
import { type Checkpoint, readCheckpoint } from "./checkpoint.ts";
import { clip } from "./clip.ts";
import { UnsupportedError } from "./config.ts";
import { deriveClip, deriveControlnet, deriveUnet, deriveVae, projectsLinearly } from "./derive-config.ts";
import { EDM_MARKS, readEdm } from "./edm.ts";
import { type Family, families } from "./families.ts";
import { requireFit } from "./fit.ts";
import { storedNetwork, storedNetworks } from "./network.ts";
import type { BaseModel, ControlNet, TextTower } from "./opened.ts";
import { originalNames, renamed } from "./original-names.ts";
import { numberIn, saidOfPrediction, yamlBeside } from "./prediction.ts";
import { refuseForeignFile } from "./recognize.ts";
import { CheckpointError } from "./safetensors.ts";
import { shallowUnet } from "./shallow.ts";
import { unet } from "./unet.ts";
import { requireRead } from "./unread.ts";
import { vaeDecoder, vaeEncoder } from "./vae.ts";
import type { WeightSource } from "./weights.ts";

type Tensors = ReadonlyMap<string, WeightSource>;
type FamilyName = keyof typeof families;

const UNET = "model.diffusion_model.";
const VAE = "first_stage_model.";
const CONTROLNET = "control_model.";

/** The tensors below a prefix, by the rest of their names. */
function below(tensors: Tensors, prefix: string): Map<string, WeightSource> {
  const own = [...tensors].filter(([name]) => name.startsWith(prefix));
  return new Map(own.map(([name, source]) => [name.slice(prefix.length), source]));
}

/** Buffers of the original training code, which say nothing that a picture needs, and markers that are read here. */
const SILENT = [
  /^(betas|alphas_cumprod|alphas_cumprod_prev|lvlb_weights|logvar|scale_factor)$/,
  /^(sqrt|log_one_minus|posterior)_\w+$/,
  /^denoiser\.sigmas$/,
  /^(v_pred|ztsnr)$/,
  EDM_MARKS,
];

/** One warning for all tensors that nothing reads, such as a second copy of the U-Net (model_ema). */
function unusedWarning(names: readonly string[]): string[] {
  const groups = new Map<string, number>();
  for (const name of names.filter((name) => !SILENT.some((pattern) => pattern.test(name)))) {
    const [head, ...rest] = name.split(".");
    const group = head + (rest.length > 0 ? ".*" : "");
    groups.set(group, (groups.get(group) ?? 0) + 1);
  }
  const list = [...groups].map(([group, tensors]) => (tensors === 1 ? group : `${group} (${tensors} tensors)`));
  return list.length === 0 ? [] : [`not used: ${list.join(", ")}`];
}

/**
 * Told apart by what only they have: SDXL embeds sizes, SD 2.x projects by linear layers, SD 1.x by convolutions.
 * @param tensors of the whole file
 * @throws UnsupportedError for what is made of the same parts and yet another model
 */
function familyOf(unet: Tensors, tensors: Tensors = unet): FamilyName {
  const sgm = tensors.has("conditioner.embedders.0.model.token_embedding.weight");
  if (unet.has("add_embedding.linear_1.weight")) {
    if (sgm) {
      throw new UnsupportedError("the SDXL refiner is not supported");
    }
    return "sdxl";
  }
  if (sgm) {
    return "sd_turbo";
  }
  if (!projectsLinearly(unet)) {
    return "sd1";
  }
  return unet.get("conv_in.weight")?.shape[1] === 9 ? "sd2_inpainting" : "sd2";
}

/**
 * A base model in the original layout: U-Net, VAE and text encoders in one file.
 * @param table what the families are, where it is not the published ones (tests have small ones)
 * @throws CheckpointError, ShapeError, UnsupportedError
 */
export function openSingleFile(file: string, table: Readonly<Record<FamilyName, Family>> = families): BaseModel {
  const { folder, tensors, metadata } = readCheckpoint(file);
  refuseForeignFile(tensors);
  const prefixes: string[] = [];
  const open = (prefix: string, names: keyof typeof originalNames, what: string): Component => {
    const own = below(tensors, prefix);
    if (own.size === 0) {
      throw new CheckpointError(`no ${what}: the file has no ${prefix}*`);
    }
    prefixes.push(prefix);
    const unknown: string[] = [];
    return { folder, tensors: renamed(own, originalNames[names](own), unknown), unknown };
  };

  const unetPart = open(UNET, "unet", "U-Net");
  const family = table[familyOf(unetPart.tensors, tensors)];
  const unetSettings = deriveUnet(unetPart.tensors, family);
  const vaePart = open(VAE, "vae", "VAE");
  const edm = readEdm({ folder, tensors });
  const scaling_factor = numberIn(yamlBeside(file), "scale_factor");
  const saidOfVae = { ...(scaling_factor !== undefined && { scaling_factor }), ...edm?.vae };
  const vaeSettings = { ...deriveVae(vaePart.tensors, family), ...saidOfVae };
  const text = family.towers.map((tower): TextTower => {
    const own = open(tower.prefix, tower.names, "text encoder");
    const config = deriveClip(own.tensors, tower);
    const network = storedNetwork(own, (w) => clip(w, config));
    requireRead([...own.tensors.keys(), ...own.unknown], [network], "text_encoder");
    return { config, tokenizerFolder: tower.tokenizerFolder, network };
  });
  requireFit(unetSettings, vaeSettings, text);

  const unused = [...tensors.keys()].filter((name) => !prefixes.some((prefix) => name.startsWith(prefix)));
  const networks = {
    unet: storedNetwork(unetPart, (w) => unet(w, unetSettings)),
    shallow: storedNetworks(unetPart, (w, branch) => shallowUnet(w, unetSettings, branch)),
    vae_decoder: storedNetwork(vaePart, (w) => vaeDecoder(w, vaeSettings)),
    vae_encoder: storedNetwork(vaePart, (w) => vaeEncoder(w, vaeSettings)),
    tiny_decoder: null,
  };
  requireRead([...unetPart.tensors.keys(), ...unetPart.unknown], [networks.unet], "unet");
  requireRead([...vaePart.tensors.keys(), ...vaePart.unknown], [networks.vae_decoder, networks.vae_encoder], "vae");
  const said = saidOfPrediction(file, tensors, metadata);
  return {
    folder,
    unet: unetSettings,
    vae: vaeSettings,
    text,
    force_zeros_for_empty_prompt: true,
    scales_image_latents: edm !== null,
    scheduler: edm?.scheduler ?? { ...family.scheduler, ...said },
    weights: unetPart,
    networks,
    safety_checker: null,
    assumed: said.prediction_type === undefined ? family.assumed : null,
    warnings: unusedWarning(unused),
  };
}

/** One network's tensors, as diffusers names them, and the names of those that it has no name for. */
interface Component extends Checkpoint {
  readonly unknown: readonly string[];
}

/** A ControlNet's tensors under diffusers' names: in the original layout, with or without the whole model around it, or already in diffusers'. */
function controlnetTensors(tensors: Tensors, unknown: string[]): Map<string, WeightSource> {
  if (tensors.has("controlnet_cond_embedding.conv_in.weight")) {
    return new Map(tensors);
  }
  const own = below(tensors, tensors.has(`${CONTROLNET}input_hint_block.0.weight`) ? CONTROLNET : "");
  if (!own.has("input_hint_block.0.weight")) {
    throw new CheckpointError(
      "not a ControlNet: the file has neither input_hint_block.* (original layout) nor controlnet_cond_embedding.* (diffusers)",
    );
  }
  return renamed(own, originalNames.controlnet(own), unknown);
}

/**
 * Whether a ControlNet pools its residuals, which cannot be seen in the file: cldm's .yaml beside it says so; without one, the
 * published one that does is known by its name, control_v11e_sd15_shuffle (as in Mikubill/sd-webui-controlnet).
 * @throws UnsupportedError
 */
function poolsResiduals(file: string): boolean {
  const yaml = yamlBeside(file);
  const isOn = (key: string) => new RegExp(`^\\s+${key}:\\s*true\\b`, "im").test(yaml);
  if (isOn("only_mid_control")) throw new UnsupportedError("the .yaml beside it: only_mid_control is not supported");
  return isOn("global_average_pooling") || /shuffle/i.test(basename(file));
}

/**
 * A ControlNet in one file.
 * @throws as openSingleFile
 */
export function openSingleFileControlNet(
  file: string,
  table: Readonly<Record<FamilyName, Family>> = families,
): ControlNet {
  const checkpoint = readCheckpoint(file);
  refuseForeignFile(checkpoint.tensors, "controlnets");
  const unknown: string[] = [];
  const own = { folder: checkpoint.folder, tensors: controlnetTensors(checkpoint.tensors, unknown) };
  const config = deriveControlnet(own.tensors, table[familyOf(own.tensors)], poolsResiduals(file));
  requireRead(unknown, [], "ControlNet");
  return controlNetOf(config, own, []);
}
