/**
 * ControlNet-Union (xinsir/controlnet-union-sdxl-1.0, and ProMax): one ControlNet for several kinds of hints, each told to it by its
 * type (diffusers, models/controlnets/controlnet_union.py). It is a ControlNet with two things more: what its hint encoder gives of
 * each hint is shifted by a token of its type, and the vector of the types joins the time embedding.
 */
import type { Computation } from "../onnx/build.ts";
import { add, gather, matmul, mul, reduceMean, reshape, sigmoidLinear, slice, transpose } from "../onnx/operators.ts";
import { input, show, type Value } from "../onnx/value.ts";
import { type ControlnetConfig, type Union, UnsupportedError } from "./config.ts";
import { embedHint } from "./controlnet.ts";
import { linear, norm } from "./layers.ts";
import { count } from "./original-names.ts";
import { CheckpointError } from "./safetensors.ts";
import type { WeightSource, Weights } from "./weights.ts";

const TASKS = "task_embedding";
/** diffusers' and the file's spelling. */
const LAYERS = "transformer_layes";

/**
 * What makes a file one of a Union; null for any other ControlNet. A config does not tell: xinsir's is that of a plain one.
 * @throws CheckpointError, UnsupportedError when the config says another number of types or layers than the file has
 */
export function unionOf(tensors: ReadonlyMap<string, WeightSource>, config: ControlnetConfig): Union | null {
  const tasks = tensors.get(TASKS);
  if (tasks === undefined) return null;
  const union = { types: tasks.shape[0] ?? 0, layers: count(tensors.keys(), LAYERS) };
  if (tasks.shape.length !== 2 || union.types === 0) {
    throw new CheckpointError(
      `"${TASKS}" has the shape ${show(tasks.shape)}: [types, channels] of one type or more are needed`,
    );
  }
  if (!config.addition_time_embed_dim) {
    throw new UnsupportedError('config.json: "addition_time_embed_dim" is required of a ControlNet-Union');
  }
  if (union.layers === 0) throw new CheckpointError(`the file has no ${LAYERS}.*`);
  const said = [
    ["num_control_type", config.num_control_type, union.types],
    ["num_trans_layer", config.num_trans_layer, union.layers],
    ["num_trans_channel", config.num_trans_channel, config.block_out_channels[0]],
  ] as const;
  const wrong = said.find(([, value, own]) => value !== undefined && value !== own);
  if (wrong !== undefined)
    throw new UnsupportedError(`config.json: "${wrong[0]}": ${wrong[1]}, the file has ${wrong[2]}`);
  return union;
}

/**
 * A token [N, C] through the transformer. torch's MultiheadAttention takes the batch for the sequence here (it is made without
 * batch_first), so a token sees the same token of the other rows, which are equal for one hint: its attention is its own value.
 */
function transform(weights: Weights, token: Value, { layers }: Union): Value {
  const size = token.shape[1] as number;
  let x = token;
  for (let i = 0; i < layers; i++) {
    const w = weights.at(`${LAYERS}.${i}`);
    const seen = norm(w.at("ln_1"), x, 1e-5);
    const attn = w.at("attn");
    const value = slice(attn.get("in_proj_weight", [3 * size, size]), 0, 2 * size, 3 * size);
    const bias = slice(attn.get("in_proj_bias", [3 * size]), 0, 2 * size, 3 * size);
    x = add(x, linear(attn.at("out_proj"), add(matmul(seen, transpose(value, [1, 0])), bias), size));
    const wide = sigmoidLinear(linear(w.at("mlp.c_fc"), norm(w.at("ln_2"), x, 1e-5), 4 * size), 1.702);
    x = add(x, linear(w.at("mlp.c_proj"), wide, size));
  }
  return x;
}

/**
 * The hint encoder of a Union: hint [N, 3, H, W], type [1], factor [1] → hint_embedding [N, C0, h, w]. Those of several hints are
 * summed, each with its scale as `factor`; that of one has the factor 1, and its scale is on the residuals.
 */
export function unionHintEncoder(w: Weights, config: ControlnetConfig, union: Union): Computation {
  const size = config.block_out_channels[0]!;
  const hint = input("hint", "float32", ["N", config.conditioning_channels, "H", "W"]);
  const type = input("type", "int64", [1]);
  const factor = input("factor", "float32", [1]);
  const embedding = embedHint(w, config, hint); // [N, C0, h, w]
  const mean = reshape(reduceMean(embedding, [2, 3]), ["N", size]);
  const token = add(mean, gather(w.get(TASKS, [union.types, size]), type));
  const shift = linear(w.at("spatial_ch_projs"), transform(w, mul(token, factor), union), size); // [N, C0]
  const shifted = add(embedding, reshape(shift, ["N", size, 1, 1]));
  return { inputs: [hint, type, factor], outputs: { hint_embedding: mul(shifted, factor) } };
}
