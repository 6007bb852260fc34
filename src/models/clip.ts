import type { Computation } from "../onnx/build.ts";
import {
  add,
  concat,
  gather,
  gelu,
  matmul,
  mul,
  relu,
  reshape,
  scale,
  sigmoid,
  sigmoidLinear,
  silu,
  slice,
} from "../onnx/operators.ts";
import { constant, input, label, type Value } from "../onnx/value.ts";
import type { ClipConfig } from "./config.ts";
import { linear, mix, norm } from "./layers.ts";
import type { Weights } from "./weights.ts";

/** The GELU by a hyperbolic tangent, x·½(1 + tanh y) = x·sigmoid(2y) with y = √(2/π)·(x + 0.044715·x³). */
const geluTanh = (x: Value) =>
  mul(x, sigmoid(scale(add(x, scale(mul(mul(x, x), x), 0.044715)), 2 * Math.sqrt(2 / Math.PI))));

/** transformers' ACT2FN. */
const activations: Record<ClipConfig["hidden_act"], (x: Value) => Value> = {
  quick_gelu: (x) => sigmoidLinear(x, 1.702),
  gelu,
  gelu_new: geluTanh,
  gelu_fast: geluTanh,
  gelu_pytorch_tanh: geluTanh,
  relu,
  silu,
  swish: silu,
};

/** 0 where token t may see token s (s ≤ t), minus infinity elsewhere: [1, 1, T, T]. */
function causalMask(tokens: number): Value {
  const mask = Array.from({ length: tokens * tokens }, (_, i) =>
    i % tokens <= Math.floor(i / tokens) ? 0 : -Infinity,
  );
  return constant("float32", [1, 1, tokens, tokens], mask);
}

/** What a layer's form depends on, in the text tower and the vision tower alike. */
export type LayerConfig = Pick<
  ClipConfig,
  "hidden_size" | "intermediate_size" | "layer_norm_eps" | "num_attention_heads" | "hidden_act"
>;

/** One transformer layer over x [B, T, D]. */
export function clipLayer(w: Weights, x: Value, mask: Value | null, config: LayerConfig): Value {
  const size = config.hidden_size;
  const before = norm(w.at("layer_norm1"), x, config.layer_norm_eps);
  const project = (name: string) => linear(w.at(`self_attn.${name}`), before, size);
  const mixed = mix(w, project("q_proj"), project("k_proj"), project("v_proj"), config.num_attention_heads, mask);
  const attended = add(x, linear(w.at("self_attn.out_proj"), mixed, size));
  const inner = linear(
    w.at("mlp.fc1"),
    norm(w.at("layer_norm2"), attended, config.layer_norm_eps),
    config.intermediate_size,
  );
  return add(attended, linear(w.at("mlp.fc2"), activations[config.hidden_act](inner), size));
}

/** The name by which the words' embeddings are found in the graph. */
export const WORDS = "words";

export interface HiddenStates {
  /** [B, 77, D]: before the first layer, and after each. */
  readonly hidden: readonly Value[];
  readonly finalNorm: (x: Value) => Value;
}

/** CLIP's text tower on ids [B, tokens]; of its positions the first are read. */
export function hiddenStates(
  weights: Weights,
  config: ClipConfig,
  ids: Value,
  tokens = config.max_position_embeddings,
): HiddenStates {
  // Released files have the prefix, those that transformers 5 writes have not.
  const w = weights.has("text_model.final_layer_norm.weight") ? weights.at("text_model") : weights;
  const words = w.get("embeddings.token_embedding.weight", [config.vocab_size, config.hidden_size]);
  const most = config.max_position_embeddings;
  const all = w.get("embeddings.position_embedding.weight", [most, config.hidden_size]);
  const positions = tokens === most ? all : slice(all, 0, 0, tokens);
  const mask = causalMask(tokens);

  const hidden = [add(label(gather(words, ids), WORDS), positions)]; // [B, 77, D]
  for (let i = 0; i < config.num_hidden_layers; i++) {
    hidden.push(clipLayer(w.at(`encoder.layers.${i}`), hidden[i]!, mask, config));
  }
  return { hidden, finalNorm: (x) => norm(w.at("final_layer_norm"), x, config.layer_norm_eps) };
}

/**
 * CLIP's text tower (arXiv 2103.00020): input_ids [B, 77] int64, layer [1] int64 (0 … num_hidden_layers) →
 * - hidden [B, 77, D]: after that many layers, as SDXL reads it, and normed, the same after the final norm, as SD 1.x and 2.x do,
 * - text_embeds [B, P], where the tower has a projection: `pooling` [B, 1, 77] is 1 at the end-of-text token, else 0.
 * @param tokens how many the tokenizer pads to: 77, or as many as a longer tower has positions
 */
export function clip(weights: Weights, config: ClipConfig, tokens = config.max_position_embeddings): Computation {
  const size = config.hidden_size;
  const ids = input("input_ids", "int64", ["B", tokens]);
  const chosen = input("layer", "int64", [1]);
  const pooling = input("pooling", "float32", ["B", 1, tokens]);
  const { hidden, finalNorm } = hiddenStates(weights, config, ids, tokens);
  const all = concat(
    hidden.map((state) => reshape(state, [1, "B", tokens, size])),
    0,
  ); // [layers + 1, B, 77, D]
  const one = reshape(gather(all, chosen), ["B", tokens, size]);
  const outputs: Record<string, Value> = { hidden: one, normed: finalNorm(one) };
  if (weights.has("text_projection.weight")) {
    const last = matmul(pooling, finalNorm(hidden.at(-1)!)); // [B, 1, D]
    const pooled = reshape(last, ["B", size]);
    outputs.text_embeds = linear(weights.at("text_projection"), pooled, config.projection_dim, { bias: false });
  }
  return { inputs: [ids, chosen, pooling], outputs };
}
