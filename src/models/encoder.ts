/** The half that the locked U-Net and its trainable copy, the ControlNet, have in common. */
import { add, concat, cos, mul, reshape, silu, sin } from "../onnx/operators.ts";
import { constant, type Dim, input, type Value } from "../onnx/value.ts";
import type { EncoderConfig } from "./config.ts";
import { convolution, linear, resnet, transformer } from "./layers.ts";
import { downLevels, heads, type Level, layersOf, middleDepth, readsText } from "./levels.ts";
import type { Weights } from "./weights.ts";

/** Channels of each skip connection, from the input's to the lowest level's: 12 numbers in SD 1.x. */
export function skipChannels(config: EncoderConfig): number[] {
  const channels = [config.block_out_channels[0]!];
  config.block_out_channels.forEach((size, i, all) => {
    const downsampled = i < all.length - 1 ? 1 : 0;
    channels.push(...Array<number>(layersOf(config, i) + downsampled).fill(size));
  });
  return channels;
}

/** The level of each residual, skip connections first, then the middle block's: level k has height and width h/2ᵏ, rounded up. */
export function residualLevels(config: EncoderConfig): number[] {
  const lowest = config.block_out_channels.length - 1;
  const levels = [0];
  for (let i = 0; i <= lowest; i++) {
    levels.push(...Array<number>(layersOf(config, i)).fill(i), ...(i < lowest ? [i + 1] : []));
  }
  return [...levels, lowest];
}

/**
 * The rows of what is the same for all B rows of the prompts, and so need be there once: 1 or B. Up to the first layer that looks at
 * the prompt one row is then computed instead of the two that guidance takes.
 */
export const SAME: Dim = "?";

/** What both networks are told about the step and the prompt. */
export interface Conditions {
  /** [1 or B] float32; fractional where a sampler's sigmas lie between the trained timesteps. */
  readonly timestep: Value;
  /** [B, S, cross_attention_dim]. */
  readonly encoder_hidden_states: Value;
  /** SDXL: the pooled text [B, D] and sizes and crops [B, 6]. */
  readonly text_embeds?: Value;
  readonly time_ids?: Value;
  /** ControlNet-Union: 1 for each type that the request names, 0 for the others, [1, types]. */
  readonly control_type?: Value;
  /** Distilled for guidance (LCM): the guidance embedding [B, time_cond_proj_dim]. */
  readonly timestep_cond?: Value;
}

const TIME_IDS = 6;

/** Values of SDXL's pooled text; 0 where a network is not told of it. */
export const pooledSize = (config: EncoderConfig): number =>
  config.addition_embed_type === null
    ? 0
    : config.projection_class_embeddings_input_dim! - TIME_IDS * config.addition_time_embed_dim!;

/** Inputs for them, of so many rows of prompts, and tokens of each. */
export function conditionInputs(config: EncoderConfig, rows: Dim = "B", tokens: Dim = "s"): Conditions {
  return {
    timestep: input("timestep", "float32", [SAME]),
    // What reads no text takes any.
    encoder_hidden_states: input("encoder_hidden_states", "float32", [
      rows,
      tokens,
      readsText(config) ? config.cross_attention_dim : "d",
    ]),
    ...(config.addition_embed_type !== null && {
      text_embeds: input("text_embeds", "float32", [rows, pooledSize(config)]),
      time_ids: input("time_ids", "float32", [rows, TIME_IDS]),
    }),
    ...("union" in config &&
      config.union !== undefined && { control_type: input("control_type", "float32", [1, config.union.types]) }),
    ...("time_cond_proj_dim" in config &&
      config.time_cond_proj_dim !== null && {
        timestep_cond: input("timestep_cond", "float32", [rows, config.time_cond_proj_dim]),
      }),
  };
}

/** Sinusoids of x [..., n] → [..., n, size] flattened to two axes (diffusers' get_timestep_embedding). */
function sinusoids(x: Value, size: number, config: EncoderConfig): Value {
  const half = size / 2;
  const frequencies = Array.from({ length: half }, (_, i) =>
    Math.exp((-Math.log(10000) * i) / (half - config.freq_shift)),
  );
  const angles = mul(reshape(x, [...x.shape, 1]), constant("float32", [half], frequencies));
  const last = angles.shape.length - 1;
  return concat(config.flip_sin_to_cos ? [cos(angles), sin(angles)] : [sin(angles), cos(angles)], last);
}

/** diffusers' TimestepEmbedding: [B, in] → [B, E]. */
function embed(w: Weights, x: Value, size: number): Value {
  return linear(w.at("linear_2"), silu(linear(w.at("linear_1"), x, size)), size);
}

/** Time, and for SDXL pooled text, sizes and crops, as one vector [B, E]. */
export function timeEmbedding(w: Weights, conditions: Conditions, config: EncoderConfig): Value {
  const channels = config.block_out_channels[0]!;
  const size = ("time_embedding_dim" in config && config.time_embedding_dim) || 4 * channels;
  let projected = sinusoids(conditions.timestep, channels, config); // [B, C0]
  if (conditions.timestep_cond !== undefined) {
    projected = add(
      projected,
      linear(w.at("time_embedding.cond_proj"), conditions.timestep_cond, channels, { bias: false }),
    );
  }
  let time = embed(w.at("time_embedding"), projected, size); // [B, E]
  if (conditions.control_type !== undefined) {
    const types = conditions.control_type.shape[1] as number;
    const flat = reshape(sinusoids(conditions.control_type, config.addition_time_embed_dim!, config), [
      1,
      types * config.addition_time_embed_dim!,
    ]);
    time = add(time, embed(w.at("control_add_embedding"), flat, size));
  }
  if (conditions.time_ids === undefined) {
    return time;
  }
  const ids = sinusoids(conditions.time_ids, config.addition_time_embed_dim!, config); // [B, 6, D]
  const flat = reshape(ids, [ids.shape[0]!, TIME_IDS * config.addition_time_embed_dim!]);
  const added = concat([conditions.text_embeds!, flat], 1); // [B, projection_class_embeddings_input_dim]
  return add(time, embed(w.at("add_embedding"), added, size));
}

/** One layer of a level: a residual block, and where the level attends to the text, a transformer. */
export function layer(
  block: Weights,
  j: number,
  h: Value,
  temb: Value,
  text: Value,
  level: Level,
  config: EncoderConfig,
): Value {
  const out = resnet(block.at(`resnets.${j}`), h, temb, level.channels, config);
  return level.isAttending
    ? transformer(block.at(`attentions.${j}`), out, text, { ...level, depth: level.depths[j]! }, config)
    : out;
}

/**
 * Down blocks over x [B, C0, h, w] (the latents after conv_in) → every skip connection, x first; what is not taken is not computed.
 * @param features of T2I-Adapters, one a block: added to what its last transformer gives; where it has none, to what the block does
 */
export function* skipConnections(
  w: Weights,
  x: Value,
  temb: Value,
  text: Value,
  config: EncoderConfig,
  features: readonly Value[] = [],
): Generator<Value> {
  yield x;
  let h = x;
  for (const [i, level] of downLevels(config).entries()) {
    const block = w.at(`down_blocks.${i}`);
    const feature = features[i];
    const isLast = i === config.block_out_channels.length - 1;
    for (let j = 0; j < level.layers; j++) {
      h = layer(block, j, h, temb, text, level, config);
      const ends = j === level.layers - 1 && (level.isAttending || isLast);
      if (ends && feature !== undefined) h = add(h, feature);
      yield h;
    }
    if (isLast) return;
    h = convolution(block.at("downsamplers.0.conv"), h, level.channels, 3, { stride: 2 });
    if (!level.isAttending && feature !== undefined) h = add(h, feature);
    yield h;
  }
}

/** Every skip connection. */
export const downBlocks = (...parts: Parameters<typeof skipConnections>): Value[] => [...skipConnections(...parts)];

type Block = (w: Weights, x: Value, temb: Value, text: Value, config: EncoderConfig) => Value;

const MID_BLOCKS: Record<NonNullable<EncoderConfig["mid_block_type"]>, Block> = {
  UNetMidBlock2DCrossAttn(w, x, temb, text, config) {
    const last = config.block_out_channels.length - 1;
    const channels = config.block_out_channels[last]!;
    const first = resnet(w.at("resnets.0"), x, temb, channels, config);
    const settings = { heads: heads(config, last), depth: middleDepth(config), onlyCross: false };
    const mixed = transformer(w.at("attentions.0"), first, text, settings, config);
    return resnet(w.at("resnets.1"), mixed, temb, channels, config);
  },
  // diffusers makes it with no further layers: one residual block.
  UNetMidBlock2D: (w, x, temb, _text, config) =>
    resnet(w.at("resnets.0"), x, temb, config.block_out_channels.at(-1)!, config),
};

/** The middle block; without one, as in BK-SDM, x stays as it is. */
export const midBlock: Block = (w, x, temb, text, config) =>
  config.mid_block_type === null ? x : MID_BLOCKS[config.mid_block_type](w, x, temb, text, config);
