import { show } from "../onnx/value.ts";
import type { ControlnetConfig, UnetConfig } from "./config.ts";
import { skipChannels } from "./encoder.ts";

/** Why a ControlNet cannot add to a U-Net, with both shapes; null when it can. */
export function misfit(unet: UnetConfig, controlnet: ControlnetConfig): string | null {
  const [own, needed] = [skipChannels(controlnet), skipChannels(unet)];
  if (show(own) !== show(needed)) {
    return `its residuals have ${show(own)} channels, the U-Net's skip connections ${show(needed)}`;
  }
  if (controlnet.cross_attention_dim !== unet.cross_attention_dim) {
    return `it reads text of [B, 77, ${controlnet.cross_attention_dim}], the model gives [B, 77, ${unet.cross_attention_dim}]`;
  }
  if (controlnet.addition_embed_type !== unet.addition_embed_type) {
    const named = (type: string | null) => type ?? "nothing";
    return `beside the timestep it is told ${named(controlnet.addition_embed_type)}, the U-Net ${named(unet.addition_embed_type)}`;
  }
  if (controlnet.projection_class_embeddings_input_dim !== unet.projection_class_embeddings_input_dim) {
    return `its added embedding takes ${controlnet.projection_class_embeddings_input_dim} values, the U-Net's ${unet.projection_class_embeddings_input_dim}`;
  }
  return null;
}
