import type { Computation } from "../onnx/build.ts";
import { add, resizeTwice, silu } from "../onnx/operators.ts";
import { input, type Value } from "../onnx/value.ts";
import type { VaeConfig } from "./config.ts";
import { convolution, fromTokens, groupNorm, linear, mix, resnet, toTokens } from "./layers.ts";
import type { Weights } from "./weights.ts";

/** Pixels of a latent cell's side, in every family: what has others is refused where it is opened. */
export const CELL = 8;

/** Pixels of a latent cell's side by a VAE's config. */
export const cellOf = (config: VaeConfig) => 2 ** (config.block_out_channels.length - 1);

/** diffusers' AutoencoderKL fixes the epsilon of every norm in it. */
const normOf = (config: VaeConfig) => ({ norm_num_groups: config.norm_num_groups, norm_eps: 1e-6 });

/** Checkpoints from before diffusers 0.14 name the attention's layers otherwise, among them the published SD 1.5. */
const attentionNames = (w: Weights) =>
  w.has("to_q.weight") ? ["to_q", "to_k", "to_v", "to_out.0"] : ["query", "key", "value", "proj_attn"];

/** Self-attention with one head over all latent cells. */
function attend(w: Weights, x: Value, config: VaeConfig): Value {
  const channels = x.shape[1] as number;
  const tokens = toTokens(groupNorm(w.at("group_norm"), x, config.norm_num_groups, 1e-6)); // [B, h·w, C]
  const [q, k, v, out] = attentionNames(w) as [string, string, string, string];
  const project = (name: string) => linear(w.at(name), tokens, channels);
  return add(fromTokens(linear(w.at(out), mix(w, project(q), project(k), project(v), 1), channels), x), x);
}

function midBlock(w: Weights, x: Value, config: VaeConfig): Value {
  const channels = x.shape[1] as number;
  const first = resnet(w.at("resnets.0"), x, null, channels, normOf(config));
  const mixed = config.mid_block_add_attention ? attend(w.at("attentions.0"), first, config) : first;
  return resnet(w.at("resnets.1"), mixed, null, channels, normOf(config));
}

/** The decoder's forward pass: latents [B, 4, h, w], already divided by scaling_factor → image [B, 3, 8h, 8w], about -1 to 1. */
export function vaeDecode(weights: Weights, config: VaeConfig, latents: Value): Value {
  const w = weights.at("decoder");
  const channels = [...config.block_out_channels].reverse();
  const z = config.use_post_quant_conv
    ? convolution(weights.at("post_quant_conv"), latents, config.latent_channels, 1)
    : latents;
  let h = midBlock(w.at("mid_block"), convolution(w.at("conv_in"), z, channels[0]!), config);
  channels.forEach((size, i) => {
    const block = w.at(`up_blocks.${i}`);
    for (let j = 0; j < config.layers_per_block + 1; j++) {
      h = resnet(block.at(`resnets.${j}`), h, null, size, normOf(config));
    }
    if (i < channels.length - 1) {
      h = convolution(block.at("upsamplers.0.conv"), resizeTwice(h), size);
    }
  });
  const normal = silu(groupNorm(w.at("conv_norm_out"), h, config.norm_num_groups, 1e-6));
  return convolution(w.at("conv_out"), normal, config.out_channels);
}

export function vaeDecoder(weights: Weights, config: VaeConfig): Computation {
  const latents = input("latents", "float32", ["B", config.latent_channels, "h", "w"]);
  return { inputs: [latents], outputs: { image: vaeDecode(weights, config, latents) } };
}

/**
 * The encoder's forward pass: image [B, 3, H, W] in -1 to 1 → moments [B, 8, h, w]: the mean and the logarithm of the
 * variance of the latents.
 */
export function vaeEncode(weights: Weights, config: VaeConfig, image: Value): Value {
  const w = weights.at("encoder");
  let h = convolution(w.at("conv_in"), image, config.block_out_channels[0]!);
  config.block_out_channels.forEach((size, i, all) => {
    const block = w.at(`down_blocks.${i}`);
    for (let j = 0; j < config.layers_per_block; j++) {
      h = resnet(block.at(`resnets.${j}`), h, null, size, normOf(config));
    }
    if (i < all.length - 1) {
      h = convolution(block.at("downsamplers.0.conv"), h, size, 3, { stride: 2, pads: [0, 0, 1, 1] });
    }
  });
  h = midBlock(w.at("mid_block"), h, config);
  const normal = silu(groupNorm(w.at("conv_norm_out"), h, config.norm_num_groups, 1e-6));
  const moments = convolution(w.at("conv_out"), normal, 2 * config.latent_channels);
  return config.use_quant_conv
    ? convolution(weights.at("quant_conv"), moments, 2 * config.latent_channels, 1)
    : moments;
}

export function vaeEncoder(weights: Weights, config: VaeConfig): Computation {
  const image = input("image", "float32", ["B", config.in_channels, "H", "W"]);
  return { inputs: [image], outputs: { moments: vaeEncode(weights, config, image) } };
}
