import type { Computation } from "../onnx/build.ts";
import { add, concat, gather, mul, reduceMean, reshape, rowsLike, silu, slice, split } from "../onnx/operators.ts";
import { input, type Value } from "../onnx/value.ts";
import type { ControlnetConfig } from "./config.ts";
import {
  type Conditions,
  conditionInputs,
  midBlock,
  residualLevels,
  SAME,
  skipConnections,
  timeEmbedding,
} from "./encoder.ts";
import { convolution, inPrecision } from "./layers.ts";
import { residualInputs } from "./unet.ts";
import type { Weights } from "./weights.ts";

/** The hint encoder's forward pass: hint [N, 3, H, W] in [0, 1] → [N, C0, h, w]. */
export function embedHint(weights: Weights, config: ControlnetConfig, hint: Value): Value {
  const w = weights.at("controlnet_cond_embedding");
  const channels = config.conditioning_embedding_out_channels;
  const inOrder =
    config.controlnet_conditioning_channel_order === "bgr" ? concat([...split(hint, 3, 1)].reverse(), 1) : hint;
  let h = silu(convolution(w.at("conv_in"), inOrder, channels[0]!));
  for (let i = 0; i < channels.length - 1; i++) {
    h = silu(convolution(w.at(`blocks.${2 * i}`), h, channels[i]!));
    h = silu(convolution(w.at(`blocks.${2 * i + 1}`), h, channels[i + 1]!, 3, { stride: 2 }));
  }
  return convolution(w.at("conv_out"), h, config.block_out_channels[0]!);
}

/**
 * The hint encoder (ControlNetConditioningEmbedding): hint [N, 3, H, W] → hint_embedding [N, C0, h, w].
 * A graph of its own, because it needs no timestep and so runs once a request.
 */
export function hintEncoder(weights: Weights, config: ControlnetConfig): Computation {
  const hint = input("hint", "float32", ["N", config.conditioning_channels, "H", "W"]);
  return { inputs: [hint], outputs: { hint_embedding: embedHint(weights, config, hint) } };
}

/**
 * The body's forward pass → the residuals, down_residual_0 … mid_residual, at scale 1.
 * @param count the first so many alone: what only the others need is not computed
 */
export function controlResiduals(
  w: Weights,
  config: ControlnetConfig,
  sample: Value,
  conditions: Conditions,
  hintEmbedding: Value,
  count = residualLevels(config).length,
): Value[] {
  const text = conditions.encoder_hidden_states;
  const temb = timeEmbedding(w, conditions, config); // [B, E]
  const x = add(convolution(w.at("conv_in"), sample, config.block_out_channels[0]!), hintEmbedding);
  const zeroConvolution = (name: string, h: Value) => {
    const residual = convolution(w.at(name), h, h.shape[1] as number, 1); // [B, C, h, w]
    return config.global_pool_conditions ? reduceMean(residual, [2, 3]) : residual;
  };
  const residuals: Value[] = [];
  let deepest = x;
  for (deepest of skipConnections(w, x, temb, text, config)) {
    residuals.push(zeroConvolution(`controlnet_down_blocks.${residuals.length}`, deepest));
    if (residuals.length === count) return residuals;
  }
  const middle = midBlock(w.at("mid_block"), deepest, temb, text, config);
  return [...residuals, zeroConvolution("controlnet_mid_block", middle)];
}

/**
 * The ControlNet's body on B rows: sample [1 or B, 4, h, w], timestep [1 or B], encoder_hidden_states [B, S, D],
 * hint_embedding [1 or B, C0, h, w]; and for the U rows of the U-Net, which may be more (guidance without control):
 * - rows [U] int64: which of the B rows each of the U-Net's rows takes its residuals from,
 * - scales [U, R]: the factor of each residual, 0 where a row takes none,
 * - mask_k [1, 1, h/2ᵏ, w/2ᵏ]: the factor of each cell at level k of the U-Net, or [1, 1, 1, 1] for all of them,
 * - down_residual_i, mid_residual: the sum of the ControlNets before this one (zeros of [1, C, 1, 1] for the first).
 * Outputs of the same names with an "_out": the sum with this one's added.
 * @param count of the residuals, the first so many alone
 */
export function controlnet(w: Weights, config: ControlnetConfig, count = residualLevels(config).length): Computation {
  const sample = input("sample", "float32", [SAME, config.in_channels, "h", "w"]);
  const conditions = conditionInputs(config);
  const hintEmbedding = input("hint_embedding", "float32", ["?", config.block_out_channels[0]!, "h", "w"]);
  const levels = residualLevels(config);
  const before = residualInputs(config).slice(0, count);
  const rows = input("rows", "int64", ["U"]);
  const scales = input("scales", "float32", ["U", levels.length]);
  const masks = config.block_out_channels.map((_, k) => input(`mask_${k}`, "float32", [1, 1, "?", "?"]));

  const residuals = controlResiduals(w, config, sample, conditions, hintEmbedding, count);
  const outputs = residuals.map((residual, i) => {
    const scale = reshape(slice(scales, 1, i, i + 1), ["U", 1, 1, 1]);
    const factor = mul(scale, masks[levels[i]!]!); // [U, 1, 1 or h, 1 or w]
    const each = gather(rowsLike(residual, conditions.encoder_hidden_states), rows);
    return add(before[i]!, mul(each, factor)); // [U, C, h, w]
  });
  const named = Object.fromEntries(before.map((value, i) => [`${nameOf(value)}_out`, outputs[i]!]));
  return inPrecision(w, {
    inputs: [sample, ...Object.values(conditions), hintEmbedding, rows, scales, ...masks, ...before],
    outputs: named,
  });
}

const nameOf = (value: Value) => (value.source.kind === "input" ? value.source.name : "");
