/** What a file or a folder is that is not served here, so that the refusal can name it. */
import { UnsupportedError } from "./config.ts";
import type { WeightSource } from "./weights.ts";

type Tensors = ReadonlyMap<string, WeightSource>;

/** What is not supported, by a tensor that only it has. */
const BY_TENSOR: readonly (readonly [RegExp, string])[] = [
  [/(^|\.)joint_blocks\.0\.|^transformer_blocks\.0\.attn\.add_q_proj\./, "Stable Diffusion 3"],
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
  [/^depth_model\./, "SD 2 with a depth input"],
  [/^noise_augmentor\./, "SD 2 unCLIP"],
  [/(^|\.)label_emb\.weight$/, "the SD x4 upscaler"],
  [/^lllite_/, "ControlNet-LLLite"],
  [/^(adapter\.)?body\.0\.(resnets\.0|in_conv|block1)\./, "a T2I-Adapter"],
  [/^(ip_adapter|image_proj)\./, "an IP-Adapter"],
  [/^lora_|\.lora[._](A|B|up|down)\.|\.(hada|lokr)_/, "a LoRA"],
  [/^(emb_params|clip_[lg])$/, "a textual inversion"],
];

/** What is served from `controlnets`, and stands nowhere else. */
const CONTROLNETS: typeof BY_TENSOR = [
  [/^(task_embedding$|control_add_embedding\.)/, "ControlNet-Union"],
  [/^lora_controlnet$/, "Control-LoRA"],
  [/^controlnet_cond_embedding\./, "a ControlNet"],
  [/^difference$/, "a ControlNet stored as a difference from a base model"],
];

/** What a U-Net in diffusers' names has, and no ControlNet. */
const U_NET = ["down_blocks.0.resnets.0.conv1.weight", "conv_norm_out.weight", "time_embedding.linear_1.weight"];

/** @throws UnsupportedError that names what the tensors are of, where that is known and not what `place` is for */
export function refuseForeignFile(tensors: Tensors, place: "models" | "controlnets" = "models"): void {
  const names = [...tensors.keys()];
  const among = (table: typeof BY_TENSOR) => table.find(([pattern]) => names.some((name) => pattern.test(name)))?.[1];
  const misplaced = place === "models" ? among(CONTROLNETS) : undefined;
  if (misplaced !== undefined) {
    throw new UnsupportedError(`not a base model: ${misplaced} belongs into controlnets`);
  }
  if (place === "models" && U_NET.every((name) => tensors.has(name))) {
    throw new UnsupportedError(
      "a U-Net alone, as SDXL-Lightning, Hyper-SD and DMD2 publish it, is no model: it belongs into a copy of its base model's folder, as unet/diffusion_pytorch_model.safetensors",
    );
  }
  const what = among(BY_TENSOR);
  if (what !== undefined) {
    throw new UnsupportedError(`${what} is not supported`);
  }
}

/** What classes of diffusers are, where the name alone does not tell. */
const BY_CLASS: Readonly<Record<string, string>> = {
  T2IAdapter: "a T2I-Adapter",
  MultiAdapter: "a set of T2I-Adapters",
  SD3ControlNetModel: "a ControlNet of Stable Diffusion 3",
  FluxControlNetModel: "a ControlNet of Flux",
  SparseControlNetModel: "a ControlNet of AnimateDiff",
  ControlNetXSAdapter: "a ControlNet-XS",
  UNetControlNetXSModel: "a ControlNet-XS",
  AsymmetricAutoencoderKL: "an asymmetric VAE",
  AutoencoderTiny: "a tiny VAE",
  ConsistencyDecoderVAE: "a consistency decoder",
  VQModel: "a VQ-VAE",
  SD3Transformer2DModel: "Stable Diffusion 3",
  FluxTransformer2DModel: "Flux",
  StableUnCLIPPipeline: "SD 2 unCLIP",
  StableUnCLIPImg2ImgPipeline: "SD 2 unCLIP",
  StableDiffusion3Pipeline: "Stable Diffusion 3",
  FluxPipeline: "Flux",
  StableDiffusionUpscalePipeline: "the SD x4 upscaler",
  StableDiffusionLatentUpscalePipeline: "the SD latent upscaler",
  StableDiffusionDepth2ImgPipeline: "SD 2 with a depth input",
  StableVideoDiffusionPipeline: "Stable Video Diffusion",
};

/** A class with what it is. */
export const naming = (name: string) => (name in BY_CLASS ? `${name} (${BY_CLASS[name]})` : name);

/** @throws UnsupportedError when a component's config.json says that it is of another class than those that are built here */
export function requireClass(json: object, component: string, ...allowed: string[]): void {
  const { _class_name: name } = json as { _class_name?: unknown };
  if (name !== undefined && !allowed.includes(String(name))) {
    throw new UnsupportedError(`${component}: ${naming(String(name))} is not supported, only ${allowed.join(" or ")}`);
  }
}
