/** Checkpoints in one file: the original layout of Stable Diffusion and of ControlNet, and ControlNets in diffusers' without a config. */
import { basename } from "node:path";
import { readCheckpoint } from "./checkpoint.ts";
import { clip } from "./clip.ts";
import { UnsupportedError } from "./config.ts";
import { controlnet, hintEncoder } from "./controlnet.ts";
import { deriveClip, deriveControlnet, deriveUnet, deriveVae, projectsLinearly } from "./derive-config.ts";
import { type Family, families } from "./families.ts";
import { requireFit } from "./fit.ts";
import { storedNetwork } from "./network.ts";
import type { BaseModel, ControlNet, TextTower } from "./opened.ts";
import { originalNames, renamed } from "./original-names.ts";
import { CheckpointError } from "./safetensors.ts";
import { unet } from "./unet.ts";
import { vaeDecoder, vaeEncoder } from "./vae.ts";
import type { WeightSource } from "./weights.ts";

type Tensors = ReadonlyMap<string, WeightSource>;
type FamilyName = keyof typeof families;

const UNET = "model.diffusion_model.";
const VAE = "first_stage_model.";
const CONTROLNET = "control_model.";

/** What is not supported, by a tensor that only it has. */
const REFUSED: readonly (readonly [RegExp, string])[] = [
  [/(^|\.)joint_blocks\.0\./, "Stable Diffusion 3"],
  [/(^|\.)single_stream_modulation\./, "Flux 2"],
  [/(^|\.)distilled_guidance_layer\./, "Chroma"],
  [/(^|\.)double_blocks\.0\.img_attn\./, "Flux"],
  [/(^|\.)double_layers\.0\.attn\./, "AuraFlow"],
  [/^clip_txt_mapper\.|^down_blocks\.1\.0\.channelwise\./, "Stable Cascade"],
  [/(^|\.)transformer_blocks\.0\.scale_shift_table$/, "PixArt or LTX-Video"],
  [/(^|\.)head\.modulation$/, "Wan"],
  [/(^|\.)cap_embedder\.0\./, "Lumina or Z-Image"],
  [/\.time_stack\./, "Stable Video Diffusion"],
  [/\bmotion_modules\./, "AnimateDiff"],
  [/^conditioner\.embedders\.0\.model\./, "the SDXL refiner"],
  [/^depth_model\./, "SD 2 with a depth input"],
  [/^noise_augmentor\./, "SD 2 unCLIP"],
  [/(^|\.)label_emb\.weight$/, "the SD x4 upscaler"],
  [/^(task_embedding$|controlnet_add_embedding\.|control_add_embedding\.)/, "ControlNet Union"],
  [/^lora_controlnet$/, "Control-LoRA"],
  [/^lllite_/, "ControlNet-LLLite"],
  [/^difference$/, "a ControlNet stored as a difference from a base model"],
  [/^(adapter\.)?body\.0\.(resnets\.0|in_conv|block1)\./, "a T2I-Adapter"],
  [/^(ip_adapter|image_proj)\./, "an IP-Adapter"],
  [/^lora_|\.lora[._](A|B|up|down)\.|\.(hada|lokr)_/, "a LoRA"],
  [/^(emb_params|clip_[lg])$/, "a textual inversion"],
];

/** @throws UnsupportedError that names what the file is, where that is known */
function refuse(tensors: Tensors): void {
  const names = [...tensors.keys()];
  const what = REFUSED.find(([pattern]) => names.some((name) => pattern.test(name)));
  if (what !== undefined) {
    throw new UnsupportedError(`${what[1]} is not supported`);
  }
}

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
  /\.(logit_scale|attn_mask|text_projection)$/,
  /^(v_pred|ztsnr)$/,
];

/** One warning for all tensors that nothing reads, such as a second copy of the U-Net (model_ema). */
function unusedWarning(names: readonly string[], prefixes: readonly string[]): string[] {
  const groups = new Map<string, number>();
  for (const name of names.filter((name) => !SILENT.some((pattern) => pattern.test(name)))) {
    const prefix = prefixes.find((known) => name.startsWith(known)) ?? "";
    const [head, ...rest] = name.slice(prefix.length).split(".");
    const group = prefix + head + (rest.length > 0 ? ".*" : "");
    groups.set(group, (groups.get(group) ?? 0) + 1);
  }
  const list = [...groups].map(([group, tensors]) => (tensors === 1 ? group : `${group} (${tensors} tensors)`));
  return list.length === 0 ? [] : [`not used: ${list.join(", ")}`];
}

/** Told apart by what only they have: SDXL embeds sizes, SD 2.x projects by linear layers, SD 1.x by convolutions. */
function familyOf(unet: Tensors): FamilyName {
  if (unet.has("add_embedding.linear_1.weight")) {
    return "sdxl";
  }
  if (!projectsLinearly(unet)) {
    return "sd1";
  }
  return unet.get("conv_in.weight")?.shape[1] === 9 ? "sd2_inpainting" : "sd2";
}

/** The family's scheduler; fine-tunes that predict v, or to zero terminal SNR, are marked by empty tensors of these names. */
function schedulerOf(tensors: Tensors, { scheduler }: Family): object {
  return {
    ...scheduler,
    ...(tensors.has("v_pred") && { prediction_type: "v_prediction" }),
    ...(tensors.has("ztsnr") && { rescale_betas_zero_snr: true }),
  };
}

/**
 * A base model in the original layout: U-Net, VAE and text encoders in one file.
 * @param table what the families are, where it is not the published ones (tests have small ones)
 * @throws CheckpointError, ShapeError, UnsupportedError
 */
export function openSingleFile(file: string, table: Readonly<Record<FamilyName, Family>> = families): BaseModel {
  const { folder, tensors } = readCheckpoint(file);
  refuse(tensors);
  const prefixes: string[] = [];
  const unused: string[] = [];
  const open = (prefix: string, names: keyof typeof originalNames, what: string) => {
    const own = below(tensors, prefix);
    if (own.size === 0) {
      throw new CheckpointError(`no ${what}: the file has no ${prefix}*`);
    }
    prefixes.push(prefix);
    const unknown: string[] = [];
    const component = renamed(own, originalNames[names](own), unknown);
    unused.push(...unknown.map((name) => prefix + name));
    return component;
  };

  const unetTensors = open(UNET, "unet", "U-Net");
  const family = table[familyOf(unetTensors)];
  const unetSettings = deriveUnet(unetTensors, family);
  const vaeTensors = open(VAE, "vae", "VAE");
  const vaeSettings = deriveVae(vaeTensors, family);
  const text = family.towers.map((tower): TextTower => {
    const own = open(tower.prefix, tower.names, "text encoder");
    const config = deriveClip(own, tower);
    const { tokenizerFolder } = tower;
    return { config, tokenizerFolder, network: storedNetwork({ folder, tensors: own }, (w) => clip(w, config)) };
  });
  requireFit(unetSettings, vaeSettings, text);

  unused.push(...[...tensors.keys()].filter((name) => !prefixes.some((prefix) => name.startsWith(prefix))));
  const vae = { folder, tensors: vaeTensors };
  return {
    folder,
    unet: unetSettings,
    vae: vaeSettings,
    text,
    force_zeros_for_empty_prompt: true,
    scheduler: schedulerOf(tensors, family),
    networks: {
      unet: storedNetwork({ folder, tensors: unetTensors }, (w) => unet(w, unetSettings)),
      vae_decoder: storedNetwork(vae, (w) => vaeDecoder(w, vaeSettings)),
      vae_encoder: storedNetwork(vae, (w) => vaeEncoder(w, vaeSettings)),
      tiny_decoder: null,
    },
    warnings: [
      ...(family.assumption === null || tensors.has("v_pred") ? [] : [family.assumption]),
      ...unusedWarning(unused, prefixes),
    ],
  };
}

/** A ControlNet's tensors under diffusers' names: in the original layout, with or without the whole model around it, or already in diffusers'. */
function controlnetTensors(tensors: Tensors): Map<string, WeightSource> {
  if (tensors.has("controlnet_cond_embedding.conv_in.weight")) {
    return new Map(tensors);
  }
  const own = below(tensors, tensors.has(`${CONTROLNET}input_hint_block.0.weight`) ? CONTROLNET : "");
  if (!own.has("input_hint_block.0.weight")) {
    throw new CheckpointError(
      "not a ControlNet: the file has neither input_hint_block.* (original layout) nor controlnet_cond_embedding.* (diffusers)",
    );
  }
  return renamed(own, originalNames.controlnet(own), []);
}

/**
 * A ControlNet in one file. Whether it pools its residuals cannot be seen in the file: the one published that does is known
 * by its name, control_v11e_sd15_shuffle (as in Mikubill/sd-webui-controlnet).
 * @throws as openSingleFile
 */
export function openSingleFileControlNet(
  file: string,
  table: Readonly<Record<FamilyName, Family>> = families,
): ControlNet {
  const checkpoint = readCheckpoint(file);
  refuse(checkpoint.tensors);
  const own = { folder: checkpoint.folder, tensors: controlnetTensors(checkpoint.tensors) };
  const config = deriveControlnet(own.tensors, table[familyOf(own.tensors)], /shuffle/i.test(basename(file)));
  return {
    config,
    networks: {
      hint: storedNetwork(own, (w) => hintEncoder(w, config)),
      controlnet: storedNetwork(own, (w) => controlnet(w, config)),
    },
  };
}
