import type { Computation } from "../onnx/build.ts";
import { add, concat, conv, filledLike, mul, reshape, slice, transpose } from "../onnx/operators.ts";
import { input, type Value } from "../onnx/value.ts";
import { clipLayer } from "./clip.ts";
import type { ClipVisionConfig } from "./config.ts";
import { linear, norm } from "./layers.ts";
import type { Weights } from "./weights.ts";

/** The patches and, before them, the class token, with their positions, normed: [N, T, D]. */
function embed(w: Weights, config: ClipVisionConfig, pixels: Value): Value {
  const { hidden_size: size, patch_size: patch, image_size: side } = config;
  const rows = Math.floor(side / patch);
  const kernel = w.get("embeddings.patch_embedding.weight", [size, 3, patch, patch]);
  const patches = conv(pixels, kernel, null, { stride: patch, pads: [0, 0, 0, 0] }); // [N, D, rows, rows]
  const tokens = transpose(reshape(patches, ["N", size, rows * rows]), [0, 2, 1]); // [N, rows², D]
  const ones = reshape(filledLike(1, pixels, 0), ["N", 1, 1]);
  const first = mul(ones, reshape(w.get("embeddings.class_embedding", [size]), [1, 1, size])); // [N, 1, D]
  const all = concat([first, tokens], 1);
  const positions = w.get("embeddings.position_embedding.weight", [rows * rows + 1, size]);
  return norm(w.at("pre_layrnorm"), add(all, positions), config.layer_norm_eps);
}

/**
 * CLIP's vision tower (arXiv 2103.00020; transformers' CLIPVisionModelWithProjection): pixel_values [N, 3, S, S] →
 * - image_embeds [N, P]: the class token after the last layer, projected,
 * - penultimate [N, T, D]: every token before the last layer.
 */
export function clipVision(weights: Weights, config: ClipVisionConfig): Computation {
  const { image_size: side, hidden_size: size, projection_dim: projected } = config;
  const pixels = input("pixel_values", "float32", ["N", 3, side, side]);
  let w = weights;
  while (w.has("vision_model.post_layernorm.weight") || w.has("vision_model.vision_model.post_layernorm.weight")) {
    w = w.at("vision_model");
  }
  const states = [embed(w, config, pixels)];
  for (let i = 0; i < config.num_hidden_layers; i++) {
    states.push(clipLayer(w.at(`encoder.layers.${i}`), states[i]!, null, config));
  }
  const pooled = norm(
    w.at("post_layernorm"),
    reshape(slice(states.at(-1)!, 1, 0, 1), ["N", size]),
    config.layer_norm_eps,
  );
  return {
    inputs: [pixels],
    outputs: {
      image_embeds: linear(weights.at("visual_projection"), pooled, projected, { bias: false }),
      penultimate: states.at(-2)!,
    },
  };
}
