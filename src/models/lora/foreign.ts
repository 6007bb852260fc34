/** LoRA files that are not served, by the keys that only they have, so that the refusal can name what they are. */
import { UnsupportedError } from "../config.ts";

/** What changes weights in a way that is not built here, or is no change of weights. */
const KINDS: readonly (readonly [RegExp, string])[] = [
  [/^lllite_/, "ControlNet-LLLite is not supported"],
  [/\.(w|b)_norm$/, "a LyCORIS file that changes norms is not supported"],
  [/\.(a1|a2|b1|b2)\.weight$/, "LyCORIS' GLoRA is not supported"],
  [/\.on_input$|\.ia3_l(\.|$)/, "(IA)³ is not supported"],
  [/\.oft_(blocks|diag|R|Q|S)(\.|$)|\.boft_[RPS](\.|$)/, "OFT and BOFT are not supported"],
  [/\.vera_(lambda_[bd]|[AB])(\.|$)/, "VeRA is not supported"],
  [/\.lora_(B|up)(\.default)?\.bias$/, "a LoRA whose factors have biases is not supported"],
  [/\.lora_embedding_[AB](\.|$)/, "a LoRA of a token embedding is not supported"],
  [/^bundle_emb\./, "a LoRA that brings textual inversions is not supported"],
  [/\.hypernet|^emb_params$|^clip_[lg]$/, "it is a textual inversion, which belongs into embeddings"],
  [/^(image_proj|ip_adapter)\./, "it is an IP-Adapter, which belongs into ip_adapters"],
  [/^lora_controlnet$/, "it is a Control-LoRA, which belongs into controlnets"],
  [/motion_modules[._]/, "a LoRA for AnimateDiff is not supported"],
];

/** Families of diffusion models that are not served, by the layers that their LoRA change; what is said first is most exact. */
const FAMILIES: readonly (readonly [RegExp, string])[] = [
  [/joint_blocks[._]|context_embedder|^lora_te3_|text_encoder_3\./, "Stable Diffusion 3"],
  [/^lora_t5/, "Stable Diffusion 3 or Flux"],
  [/joint_transformer_blocks[._]/, "AuraFlow"],
  [/(double|single)_blocks[._]|single_transformer_blocks[._]/, "Flux"],
  [/^lora_prior_|(^|[._])prior[._]/, "Stable Cascade"],
  [/(^|[._])blocks[._]\d+[._](self|cross)_attn[._]/, "Wan"],
  [
    /^(lora_transformer_|transformer\.)|^(lora_unet_|lycoris_|diffusion_model\.)?(transformer_blocks|blocks|layers)[._]\d/,
    "a diffusion transformer (Stable Diffusion 3, Flux, PixArt, Qwen-Image or another)",
  ],
];

/** @throws UnsupportedError that says what a file is and names a key of it, where it is for nothing that is served */
export function refuseForeignLora(keys: Iterable<string>): void {
  const names = [...keys].map((key) => [key, key.replace("base_model.model.", "")] as const);
  const find = (pattern: RegExp) => names.find(([, name]) => pattern.test(name))?.[0];
  for (const [pattern, what] of KINDS) {
    const key = find(pattern);
    if (key !== undefined) throw new UnsupportedError(`${what} ("${key}")`);
  }
  for (const [pattern, family] of FAMILIES) {
    const key = find(pattern);
    if (key !== undefined) throw new UnsupportedError(`a LoRA for ${family} is not supported ("${key}")`);
  }
}
