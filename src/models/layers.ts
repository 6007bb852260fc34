/** The layers that Stable Diffusion's networks share. x is [B, C, h, w] in convolutions, [B, T, C] in transformers. */
import { attention, plainAttention } from "../onnx/attention.ts";
import type { Computation } from "../onnx/build.ts";
import { half } from "../onnx/half.ts";
import {
  add,
  concat,
  conv,
  filledLike,
  gelu,
  layerNorm,
  matmul,
  mul,
  product,
  reshape,
  reshapeLike,
  rowsLike,
  shapeOf,
  silu,
  split,
  transpose,
} from "../onnx/operators.ts";
import { quantizedConvolution, quantizedProduct } from "../onnx/quantize.ts";
import { constant, label, node, ShapeError, scalar, type Value } from "../onnx/value.ts";
import { type Tile, winograd } from "../onnx/winograd.ts";
import type { Weights } from "./weights.ts";

/** The computation in half precision, where that is chosen. */
export const inPrecision = (w: Weights, computation: Computation) => (w.choices.half ? half(computation) : computation);

const channels = (x: Value, axis: number) => x.shape[axis] as number;

/** x [..., in] · weightᵀ [in, out] + bias; `dense` = what a graph may have in 8 bits. */
export function linear(w: Weights, x: Value, out: number, { bias = true, dense = false } = {}): Value {
  const weight = w.get("weight", [out, channels(x, x.shape.length - 1)]);
  if (dense && w.choices.int8) {
    return label(quantizedProduct(x, weight, bias ? w.get("bias", [out]) : null), w.path);
  }
  const product = label(matmul(x, transpose(weight, [1, 0])), w.path); // [..., out]
  return bias ? add(product, w.get("bias", [out])) : product;
}

/** `dense` as for a linear layer. */
export function convolution(
  w: Weights,
  x: Value,
  out: number,
  kernel = 3,
  { dense = false, ...options }: Parameters<typeof conv>[3] & { readonly dense?: boolean } = {},
): Value {
  const weight = w.get("weight", [out, channels(x, 1), kernel, kernel]);
  const bias = w.get("bias", [out]);
  const isPlain = Object.keys(options).length === 0;
  if (dense && isPlain && w.choices.int8 && gainsByInt8(x, kernel)) {
    return quantizedConvolution(x, weight, bias, w.path);
  }
  const tile = w.choices.winograd && isPlain && kernel === 3 ? winogradTile(x, out) : null;
  return label(tile === null ? conv(x, weight, bias, options) : winograd(x, weight, bias, tile), w.path);
}

/** Where 8 bits pay: at the largest size Winograd's convolution in float32 is as quick (docs/speed.md). */
const gainsByInt8 = (x: Value, kernel: number) => kernel === 1 || x.shape[2] !== "h";

/**
 * The tile with which Winograd's convolution pays: with many channels, and at these sizes. At fewer cells its larger weights cost
 * more memory than they save time, at more cells its terms would be the largest thing in memory.
 */
function winogradTile(x: Value, out: number): Tile | null {
  if (Math.min(channels(x, 1), out) < 128) return null;
  return TILES[x.shape[2]!] ?? null;
}

const TILES: Readonly<Record<string, Tile>> = { h: 4, "h/2": 4, "2h": 4, "4h": 4, "h/4": 2 };

/**
 * GroupNorm (arXiv 1803.08494) as a LayerNormalization over each group: on the CPU the fastest form that onnxruntime has.
 */
export function groupNorm(w: Weights, x: Value, groups: number, epsilon: number): Value {
  const size = channels(x, 1);
  if (size % groups !== 0) {
    throw new ShapeError(`GroupNorm: ${size} channels are not a multiple of ${groups} groups`);
  }
  const grouped = reshape(x, [x.shape[0]!, groups, product([size / groups, ...x.shape.slice(2)])]); // [B, groups, C/groups·h·w]
  // The CPU would take a weight and a bias of [1]; other execution providers want the group's size.
  const [one, zero] = [filledLike(1, grouped, 2), filledLike(0, grouped, 2)];
  const normal = reshapeLike(layerNorm(grouped, one, zero, epsilon), x); // [B, C, h, w]
  const perChannel = (name: string) => reshape(w.get(name, [size]), [size, 1, 1]);
  return add(mul(normal, perChannel("weight")), perChannel("bias"));
}

export function norm(w: Weights, x: Value, epsilon: number): Value {
  const size = channels(x, x.shape.length - 1);
  return layerNorm(x, w.get("weight", [size]), w.get("bias", [size]), epsilon);
}

export interface NormConfig {
  readonly norm_num_groups: number;
  readonly norm_eps: number;
  /** "scale_shift": the time embedding scales the second norm and then shifts it; else it is added before. */
  readonly resnet_time_scale_shift?: "default" | "scale_shift";
}

/** The time embedding [B, E] projected to `parts` numbers a channel: [B, out, 1, 1] each. */
function timeParts(w: Weights, temb: Value, out: number, parts: number): readonly Value[] {
  const all = linear(w.at("time_emb_proj"), silu(temb), parts * out); // [B, parts * out]
  const each = parts === 1 ? [all] : split(all, parts, 1);
  return each.map((part) => reshape(part, [part.shape[0]!, out, 1, 1]));
}

/** diffusers' ResnetBlock2D; temb [B, E] is the time embedding, null in the VAE. */
export function resnet(w: Weights, x: Value, temb: Value | null, out: number, config: NormConfig): Value {
  const { norm_num_groups: groups, norm_eps: epsilon } = config;
  const dense = temb !== null; // the VAE makes the picture itself, and stays exact
  let h = convolution(w.at("conv1"), silu(groupNorm(w.at("norm1"), x, groups, epsilon)), out, 3, { dense });
  const scales = config.resnet_time_scale_shift === "scale_shift";
  const told = temb === null ? [] : timeParts(w, temb, out, scales ? 2 : 1); // [B, out, 1, 1] each
  if (told.length === 1) {
    h = add(h, told[0]!);
  }
  h = groupNorm(w.at("norm2"), h, groups, epsilon);
  if (told.length === 2) {
    h = add(mul(h, add(told[0]!, scalar(1))), told[1]!);
  }
  h = convolution(w.at("conv2"), silu(h), out, 3, { dense });
  return add(channels(x, 1) === out ? x : convolution(w.at("conv_shortcut"), x, out, 1, { dense }), h);
}

/** Scaled dot-product attention in the form that the runtime does well. */
export function mix(w: Weights, ...parts: Parameters<typeof attention>): Value {
  return label(w.choices.fusedAttention ? attention(...parts) : plainAttention(...parts), `${w.path}.mix`);
}

/** diffusers' Attention; `context` is x itself for self-attention, else the text, of which keys and values are few and exact. */
function attend(w: Weights, x: Value, context: Value, heads: number): Value {
  const size = channels(x, 2);
  const project = (name: string, from: Value) => linear(w.at(name), from, size, { bias: false, dense: from === x });
  const queries = rowsLike(project("to_q", x), context);
  const mixed = mix(w, queries, project("to_k", context), project("to_v", context), heads);
  return linear(w.at("to_out.0"), mixed, size, { dense: true });
}

/** GEGLU (arXiv 2002.05202): one half of a projection gates the other. */
function feedForward(w: Weights, x: Value): Value {
  const size = channels(x, 2);
  const [value, gate] = split(linear(w.at("net.0.proj"), x, 8 * size, { dense: true }), 2, 2); // [B, T, 4C] each
  return linear(w.at("net.2"), mul(value!, gelu(gate!)), size, { dense: true });
}

function transformerBlock(w: Weights, x: Value, text: Value, { heads, onlyCross }: Attending): Value {
  const first = norm(w.at("norm1"), x, 1e-5);
  const selfAttended = add(attend(w.at("attn1"), first, onlyCross ? text : first, heads), x);
  const crossAttended = add(attend(w.at("attn2"), norm(w.at("norm2"), selfAttended, 1e-5), text, heads), selfAttended);
  return add(feedForward(w.at("ff"), norm(w.at("norm3"), crossAttended, 1e-5)), crossAttended);
}

export interface TransformerConfig {
  readonly norm_num_groups: number;
  readonly use_linear_projection: boolean;
}

/** [B, C, h, w] ↔ [B, h·w, C]. */
export function toTokens(x: Value): Value {
  const [batch, size, height, width] = x.shape;
  return transpose(reshape(x, [batch!, size!, product([height!, width!])]), [0, 2, 1]);
}
export function fromTokens(tokens: Value, like: Value): Value {
  const [, ...sizes] = like.shape;
  const shape = concat([constant("int64", [1], [0]), shapeOf(like, 1)], 0); // its own rows: there may be more by now
  return node("Reshape", [transpose(tokens, [0, 2, 1]), shape], [tokens.shape[0]!, ...sizes]);
}

export interface Attending {
  readonly heads: number;
  /** How many layers; 0 leaves the two projections. */
  readonly depth: number;
  /** The first attention of each layer sees the text instead of the picture. */
  readonly onlyCross: boolean;
}

/** diffusers' Transformer2DModel over text [B, S, D]. SD 1.x projects by 1×1 convolutions, later ones by linear layers. */
export function transformer(w: Weights, x: Value, text: Value, attending: Attending, config: TransformerConfig) {
  const size = channels(x, 1);
  const normal = groupNorm(w.at("norm"), x, config.norm_num_groups, 1e-6);
  let tokens = config.use_linear_projection
    ? linear(w.at("proj_in"), toTokens(normal), size, { dense: true })
    : toTokens(convolution(w.at("proj_in"), normal, size, 1, { dense: true })); // [B, h·w, C]
  for (let i = 0; i < attending.depth; i++) {
    tokens = transformerBlock(w.at(`transformer_blocks.${i}`), tokens, text, attending);
  }
  const out = config.use_linear_projection
    ? fromTokens(linear(w.at("proj_out"), tokens, size, { dense: true }), x)
    : convolution(w.at("proj_out"), fromTokens(tokens, x), size, 1, { dense: true });
  return add(out, x);
}
