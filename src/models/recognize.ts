/** What a file is that is not what its place is for, so that the refusal can name it: by names of tensors that only it has. */
import { UnsupportedError } from "./config.ts";
import type { WeightSource } from "./weights.ts";

type Tensors = ReadonlyMap<string, WeightSource>;
type Place = "models" | "controlnets";
/** A pattern over all names, one a line, and what has such a name. */
type Row = readonly [RegExp, string];

/** Other families, and what is made of Stable Diffusion's parts and yet another model. The more special ones first. */
const FAMILIES: readonly Row[] = [
  [/\.quant_state\.bitsandbytes|\.weight\.(absmax|nested_absmax)$|\.SCB$/m, "a model quantized by bitsandbytes"],
  [/\.(qweight|wscales|qzeros)$/m, "a model quantized to integers (Nunchaku, GPTQ, AWQ)"],
  [/(^|\.)transformer_blocks\.0\.img_mod\./m, "Qwen-Image"],
  [/(^|\.)double_stream_blocks\.0\./m, "HiDream"],
  [/(^|\.)txt_in\.individual_token_refiner\./m, "HunyuanVideo"],
  [/(^|\.)single_stream_modulation\./m, "Flux 2"],
  [/(^|\.)distilled_guidance_layer\./m, "Chroma"],
  [/(^|\.)(double_layers|joint_transformer_blocks)\.0\.(attn|modX)/m, "AuraFlow"],
  [/(^|\.)double_blocks\.0\.img_attn\.|(^|\.)single_transformer_blocks\.0\./m, "Flux"],
  [/(^|\.)joint_blocks\.0\.|(^|\.)transformer_blocks\.0\.attn\.add_[qk]_proj\./m, "Stable Diffusion 3"],
  [/(^|\.)clip_(txt_)?mapper\.|^(.+\.)?down_blocks\.\d+\.0\.channelwise\.|^vquantizer\./m, "Stable Cascade"],
  [/^caption_norm\.weight$/m, "Sana"],
  [/(^|\.)(t_block\.1\.|blocks\.0\.cross_attn\.kv_linear\.)|^pos_embed\.proj\./m, "PixArt"],
  [/(^|\.)transformer_blocks\.\d+\.scale_shift_table$|(^|\.)adaln_single\./m, "PixArt or LTX-Video"],
  [/(^|\.)(mlp_t5\.0|blocks\.0\.attn1\.(Wqkv|to_q))\./m, "Hunyuan-DiT"],
  [/(^|\.)head\.modulation$/m, "Wan"],
  [/(^|\.)cap_embedder\.0\./m, "Lumina or Z-Image"],
  [/^(.+\.)?patch_embed\.text_proj\./m, "CogVideoX"],
  [/^t5_yproj\./m, "Mochi"],
  [/^net\.blocks\.block0\./m, "Cosmos"],
  [/^llm\.layers\./m, "OmniGen"],
  [/(^|\.)add_embedding\.pool\./m, "DeepFloyd IF"],
  [/^(.+\.)?encoder_hid_proj\.(image|text)|^down_samples\.0\./m, "Kandinsky"],
  [/^(.+\.)?encoder_hid_proj\.weight$/m, "Kolors"],
  [/\.(time_stack|temporal_res_block)\./m, "Stable Video Diffusion"],
  [/(^|\.)motion_modules\./m, "AnimateDiff"],
  [/\.(temopral_conv|temp_convs\.\d+|temp_attentions\.\d+|temporal_transformer)\./m, "a video model of ModelScope"],
  [/^depth_model\./m, "SD 2 with a depth input"],
  [/^(noise_augmentor|embedder\.model\.visual)\./m, "SD 2 unCLIP"],
  [/(^|\.)(label_emb|class_embedding)\.weight$/m, "the SD x4 upscaler"],
  [/^(model\.)?inner_model\./m, "the SD latent upscaler"],
  [/(^|\.)(position_net\.|\w+\.\d+\.fuser\.linear\.)/m, "GLIGEN"],
  [/^cc_projection\./m, "Zero123"],
  [/^cond_stage_model\.roberta\./m, "AltDiffusion"],
  [/^cond_stage_model\.(transformer\.)?(token_emb|attn_layers)\./m, "Latent Diffusion with BERT"],
  [/^(pretransform\.|model\.model\.to_timestep_embed\.)/m, "Stable Audio"],
  [/^lllite_/m, "ControlNet-LLLite"],
  [/^id_encoder\./m, "PhotoMaker"],
  [/^pulid_/m, "PuLID"],
];

/** What has a place of its own: the place, and a pattern of what belongs there. */
const MISPLACED: readonly (readonly [RegExp, string, string])[] = [
  [/^(task_embedding$|control_add_embedding\.)/m, "ControlNet-Union", "controlnets"],
  [/^lora_controlnet$/m, "Control-LoRA", "controlnets"],
  [/^difference$/m, "a ControlNet stored as a difference from a base model", "controlnets"],
  [/^(adapter\.)?body\.0\.(resnets\.0|in_conv|block1)\./m, "a T2I-Adapter", "adapters"],
  [/^(ip_adapter|image_proj)\./m, "an IP-Adapter", "ip_adapters"],
  [/^(lora|oft)_|[._]lora[._](A|B|up|down)\b|\.(hada|lokr)_|\.(dora_scale|w_norm)$/m, "a LoRA", "loras"],
  [/^(emb_params|clip_[lg])$/m, "a textual inversion", "embeddings"],
];

/** Parts of models, and other networks that lie about: said where a file has no model around them. */
const PARTS: readonly Row[] = [
  [
    /^(control_model\.)?input_hint_block\.0\.|^controlnet_cond_embedding\./m,
    "a ControlNet: it belongs into controlnets",
  ],
  [/^(encoder|decoder)\.stages\.0\./m, "a deep-compression VAE (AutoencoderDC)"],
  [/^(diffusion_model|unet|model)\.(input_blocks|down_blocks)\.0\./m, "a U-Net under another prefix"],
  [
    /^(conv_in\.weight$|down_blocks\.0\.)/m,
    "a U-Net alone, as SDXL-Lightning, Hyper-SD and DMD2 publish it: it belongs into a copy of its base model's folder, as unet/diffusion_pytorch_model.safetensors",
  ],
  [/^input_blocks\.0\.0\./m, "a U-Net alone"],
  [/^(embed_image\.|down_0_0\.)/m, "a consistency decoder"],
  [/^quantize\.embedding\./m, "a VQ-VAE"],
  [
    /^((taesd_)?(encoder|decoder)\.layers\.)?\d+\.(conv\.0\.)?weight$/m,
    "a tiny VAE (TAESD), which belongs into decoders as a folder",
  ],
  [/^(first_stage_model\.|vae\.)?(encoder|decoder)\.(down|up|down_blocks|up_blocks)\.0\./m, "a VAE alone"],
  [/^(encoder\.block\.0\.layer\.0\.SelfAttention|shared\.weight$)/m, "a text encoder alone (T5)"],
  [/^concept_embeds$/m, "a safety checker, which belongs into safety_checker as a folder"],
  [/^(vision_model\.|visual\.)/m, "an image encoder alone"],
  [/^(text_model\.|transformer\.resblocks\.|token_embedding\.)/m, "a text encoder alone"],
  [/^model\.layers\.0\.self_attn\./m, "a language model"],
  [/\.(RDB1|rdb1|residual_group)\./m, "an upscaler of pictures"],
  [/^model_ema\./m, "a copy of EMA weights alone, without the plain ones"],
];

/** What a model in one file has, whatever it lacks. */
const isModel = (names: string) => /^model\.diffusion_model\./m.test(names);
const CONTROLNET = PARTS[0]![0];

/** What a file has that its place is not for, as the refusal of it begins. */
const NEEDED: Record<Place, string> = {
  models:
    "a model in one file has its U-Net under model.diffusion_model, its VAE under first_stage_model, and text encoders",
  controlnets:
    "a ControlNet in one file has input_hint_block (original layout) or controlnet_cond_embedding (diffusers)",
};

/** Part of a model, or a whole one where a ControlNet belongs; null for what is to be opened. */
function partOf(names: string, place: Place): string | null {
  if (place === "models" && isModel(names)) return null;
  if (place === "controlnets") {
    if (CONTROLNET.test(names)) return null;
    if (isModel(names)) return "a base model";
  }
  return PARTS.find(([pattern]) => pattern.test(names))?.[1] ?? null;
}

/** @throws UnsupportedError that names what the tensors are of, where that is known and not what `place` is for */
export function refuseForeignFile(tensors: Tensors, place: Place = "models"): void {
  const names = [...tensors.keys()].join("\n");
  const kind = place === "models" ? "a base model" : "a ControlNet";
  // A LoRA of another family is a LoRA first: in its own place it is told what it is of.
  const misplaced = MISPLACED.find(([pattern, , home]) => home !== place && pattern.test(names));
  if (misplaced !== undefined) {
    const [, what, home] = misplaced;
    throw new UnsupportedError(`${what} belongs into ${home}: it is not ${kind}`);
  }
  const what = FAMILIES.find(([pattern]) => pattern.test(names))?.[1];
  if (what !== undefined) throw new UnsupportedError(`${what} is not supported`);
  const part = partOf(names, place);
  if (part !== null) throw new UnsupportedError(`not ${kind} but ${part}; ${NEEDED[place]}`);
}
