/** Classes of diffusers and transformers that are not built here, and what they are, where the name alone does not tell. */
import { UnsupportedError } from "./config.ts";

/** By how a class begins, the longer beginnings first. */
const BY_CLASS: readonly (readonly [RegExp, string])[] = [
  [/^T2IAdapter$/, "a T2I-Adapter, which belongs into adapters"],
  [/^MultiAdapter$/, "a set of T2I-Adapters"],
  [/^ControlNet(Union)?Model$/, "a ControlNet, which belongs into controlnets"],
  [/^SD3ControlNetModel/, "a ControlNet of Stable Diffusion 3"],
  [/^FluxControlNetModel/, "a ControlNet of Flux"],
  [/^SparseControlNetModel/, "a ControlNet of AnimateDiff"],
  [/ControlNetXS/, "a ControlNet-XS"],
  [/ControlNetModel$/, "a ControlNet of another family"],
  [/^AsymmetricAutoencoderKL/, "an asymmetric VAE"],
  [/^AutoencoderTiny/, "a tiny VAE"],
  [/^AutoencoderDC/, "a deep-compression VAE"],
  [/^AutoencoderKL.+|^Autoencoder(OobleckVAE|Oobleck)/, "a VAE of videos or sound"],
  [/^ConsistencyDecoderVAE/, "a consistency decoder"],
  [/^VQModel/, "a VQ-VAE"],
  [/^AutoencoderKL$/, "a VAE alone"],
  [/^UNet2DConditionModel$/, "a U-Net alone"],
  [/^(CLIPText|T5Encoder|UMT5|ChatGLM|Gemma)/, "a text encoder alone"],
  [/^(CLIPVision|SiglipVision|Dinov2)/, "an image encoder alone"],
  [/^StableDiffusionSafetyChecker$/, "a safety checker, which belongs into safety_checker"],
  [/For(CausalLM|ConditionalGeneration)$/, "a language model"],
  [/^(UNetMotionModel|MotionAdapter)|^AnimateDiff/, "AnimateDiff"],
  [/^(UNet3DConditionModel|TextToVideo|VideoToVideo)/, "a video model of ModelScope"],
  [/^(UNetSpatioTemporal|StableVideoDiffusion|AutoencoderKLTemporalDecoder)/, "Stable Video Diffusion"],
  [/^(SD3Transformer|StableDiffusion3)/, "Stable Diffusion 3"],
  [/^Flux2/, "Flux 2"],
  [/^(Flux|ReduxImage)/, "Flux"],
  [/^Chroma/, "Chroma"],
  [/^StableCascade|^W(ue|ü)rstchen|^Wuerstchen/, "Stable Cascade"],
  [/^PixArt/, "PixArt"],
  [/^(Sana|AuraFlow|Lumina|HiDream|OmniGen|QwenImage|CogView|Kolors|Amused)/, "another family of pictures"],
  [/^Hunyuan(DiT|2D)/, "Hunyuan-DiT"],
  [/^(CogVideo|Wan|LTX|HunyuanVideo|Mochi|I2VGen|Latte|Allegro|Cosmos|SkyReels)/, "a video model"],
  [/^(Kandinsky|PriorTransformer)/, "Kandinsky"],
  [/^StableUnCLIP/, "SD 2 unCLIP"],
  [/^(UnCLIP)/, "unCLIP"],
  [/^StableDiffusion(XL)?PAG|^StableDiffusion\w*PAG/, "perturbed-attention guidance"],
  [/^StableDiffusionSAG/, "self-attention guidance"],
  [/^StableDiffusionUpscale/, "the SD x4 upscaler"],
  [/^StableDiffusionLatentUpscale/, "the SD latent upscaler"],
  [/^StableDiffusionDepth2Img/, "SD 2 with a depth input"],
  [/^StableDiffusionImageVariation|^VersatileDiffusion/, "SD with pictures in place of prompts"],
  [/^PaintByExample/, "inpainting by an example picture"],
  [/^StableDiffusionGLIGEN/, "GLIGEN"],
  [/^StableDiffusionLDM3D/, "SD with a depth channel"],
  [/^AltDiffusion/, "SD with another text encoder"],
  [/^IF/, "DeepFloyd IF"],
  [/^(Onnx|ORT)/, "an export to ONNX"],
  [/^OV/, "an export to OpenVINO"],
  [/^Flax/, "weights for Flax"],
  [/^(Stable|Music)?Audio|^MusicLDM/, "a model of sound"],
  [/^Marigold/, "a model that measures pictures"],
];

/** A class with what it is. */
export function naming(name: string): string {
  const what = BY_CLASS.find(([pattern]) => pattern.test(name))?.[1];
  return what === undefined ? name : `${name} (${what})`;
}

/** @throws UnsupportedError when a component's config.json says that it is of another class than those that are built here */
export function requireClass(json: object, component: string, ...allowed: string[]): void {
  const { _class_name: name } = json as { _class_name?: unknown };
  if (name !== undefined && !allowed.includes(String(name))) {
    throw new UnsupportedError(`${component}: ${naming(String(name))} is not supported, only ${allowed.join(" or ")}`);
  }
}
