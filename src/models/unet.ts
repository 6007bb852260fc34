import type { Computation } from "../onnx/build.ts";
import { add, concat, resizeLike, rowsLike, silu } from "../onnx/operators.ts";
import { input, label, type Value } from "../onnx/value.ts";
import type { EncoderConfig, UnetConfig } from "./config.ts";
import {
  type Conditions,
  conditionInputs,
  downBlocks,
  layer,
  midBlock,
  SAME,
  skipChannels,
  timeEmbedding,
} from "./encoder.ts";
import { convolution, groupNorm, inPrecision } from "./layers.ts";
import { upLevels } from "./levels.ts";
import type { Weights } from "./weights.ts";

/**
 * Inputs for what ControlNets add to the skip connections and the middle block. "?" is a size that is 1 or fits, so that
 * zeros of [1, C, 1, 1] stand for "no ControlNet" at next to no cost.
 */
export function residualInputs(config: EncoderConfig): Value[] {
  const middle = config.block_out_channels.at(-1)!;
  return [
    ...skipChannels(config).map((channels, i) => input(`down_residual_${i}`, "float32", ["?", channels, "?", "?"])),
    input("mid_residual", "float32", ["?", middle, "?", "?"]),
  ];
}

/**
 * Inputs for the features of T2I-Adapters, one a down block and, where there are three, one for the middle block: an adapter has
 * four. "?" as in residualInputs.
 */
export function featureInputs(config: EncoderConfig): Value[] {
  const channels = config.block_out_channels;
  const all = channels.length < FEATURES ? [...channels, channels.at(-1)!] : channels;
  return all.map((size, i) => input(`feature_${i}`, "float32", ["?", size, "?", "?"]));
}

/** How many features a T2I-Adapter gives. */
export const FEATURES = 4;

/** Where an up block's layer joins what comes from below with the skip connection that it takes. */
export const joinName = (block: string, layer: number) => `${block}.join.${layer}`;

/**
 * Up blocks: each layer takes the deepest skip connection that is left.
 * @param below what comes from below: the middle block's, or where `skips` are the first few alone, what the layer before gives
 * the one that takes the last of them
 */
export function upBlocks(
  w: Weights,
  below: Value,
  skips: readonly Value[],
  temb: Value,
  text: Value,
  config: UnetConfig,
): Value {
  const left = [...skips];
  let h = below;
  let deeper = skipChannels(config).length - skips.length;
  upLevels(config).forEach((level, i, all) => {
    const block = w.at(`up_blocks.${i}`);
    for (let j = 0; j < level.layers; j++) {
      if (deeper-- > 0) continue;
      const both = [h, left.pop()!].map((x) => rowsLike(x, text));
      const joined = label(concat(both, 1), joinName(block.path, j));
      h = layer(block, j, joined, temb, text, level, config);
    }
    if (i < all.length - 1 && deeper < 0) {
      h = convolution(block.at("upsamplers.0.conv"), resizeLike(h, left.at(-1)!), level.channels, 3, { dense: true });
    }
  });
  return h;
}

/** What the last up block gives → the U-Net's output [B, out_channels, h, w]. */
export function toOutput(w: Weights, h: Value, config: UnetConfig): Value {
  const normal = silu(groupNorm(w.at("conv_norm_out"), h, config.norm_num_groups, config.norm_eps));
  return convolution(w.at("conv_out"), normal, config.out_channels, config.conv_out_kernel);
}

/**
 * The U-Net's forward pass: sample [1 or B, in_channels, h, w] → out [B, out_channels, h, w]. `residuals` are added to the skip
 * connections and, the last one, to the middle block; `features` of T2I-Adapters inside the down blocks.
 */
export function denoise(
  w: Weights,
  config: UnetConfig,
  sample: Value,
  conditions: Conditions,
  residuals: readonly Value[],
  features: readonly Value[] = [],
): Value {
  const text = conditions.encoder_hidden_states;
  const temb = timeEmbedding(w, conditions, config); // [B, E]
  const x = convolution(w.at("conv_in"), sample, config.block_out_channels[0]!, config.conv_in_kernel);
  const skips = downBlocks(w, x, temb, text, config, features);
  const own = midBlock(w.at("mid_block"), skips.at(-1)!, temb, text, config);
  const ofMiddle = features[config.down_block_types.length];
  const middle = ofMiddle === undefined ? own : add(own, ofMiddle);
  const controlled = skips.map((skip, i) => add(skip, residuals[i]!));
  const h = upBlocks(w, add(middle, residuals.at(-1)!), controlled, temb, text, config);
  return toOutput(w, h, config);
}

export const OUTPUT = "out";

/**
 * The locked U-Net: sample [1 or B, in_channels, h, w], timestep [1 or B], encoder_hidden_states [B, S, D] and the ControlNets'
 * summed residuals → out [B, out_channels, h, w].
 */
export function unet(w: Weights, config: UnetConfig): Computation {
  const sample = input("sample", "float32", [SAME, config.in_channels, "h", "w"]);
  const conditions = conditionInputs(config);
  const residuals = residualInputs(config);
  const features = featureInputs(config);
  const out = label(denoise(w, config, sample, conditions, residuals, features), OUTPUT);
  return inPrecision(w, {
    inputs: [sample, ...Object.values(conditions), ...residuals, ...features],
    outputs: { out },
  });
}
