/** The configs that a single file lacks, from the shapes of its tensors under diffusers' names. */
import { show } from "../onnx/value.ts";
import {
  type ClipConfig,
  type ControlnetConfig,
  clipConfig,
  controlnetConfig,
  parseConfig,
  type UnetConfig,
  UnsupportedError,
  unetConfig,
  type VaeConfig,
  vaeConfig,
} from "./config.ts";
import type { Family, Tower } from "./families.ts";
import { requireLevels } from "./levels.ts";
import { count } from "./original-names.ts";
import { CheckpointError } from "./safetensors.ts";
import type { WeightSource } from "./weights.ts";

type Tensors = ReadonlyMap<string, WeightSource>;

const range = (length: number) => Array.from({ length }, (_, i) => i);

/** @throws CheckpointError when the tensor is missing or has another number of axes */
function shapeOf(tensors: Tensors, name: string, axes: number): readonly number[] {
  const source = tensors.get(name);
  if (source === undefined) {
    throw new CheckpointError(`the checkpoint has no tensor "${name}"`);
  }
  if (source.shape.length !== axes) {
    throw new CheckpointError(`"${name}" has the shape ${show(source.shape)}, which has not ${axes} axes`);
  }
  return source.shape;
}

/** Transformer layers of a block's attentions, null where it has none: a number, or a list where they differ. @throws UnsupportedError */
function depthOf(tensors: Tensors, block: string): number | number[] | null {
  const attentions = count(tensors.keys(), `${block}.attentions`);
  const layers = count(tensors.keys(), `${block}.resnets`);
  if (attentions === 0) {
    return null;
  }
  if (block !== MIDDLE && attentions !== layers) {
    throw new UnsupportedError(`${block} has attention in ${attentions} of its ${layers} layers: not supported`);
  }
  const depths = range(attentions).map((j) => count(tensors.keys(), `${block}.attentions.${j}.transformer_blocks`));
  return depths.every((depth) => depth === depths[0]) ? depths[0]! : depths;
}

const MIDDLE = "mid_block";

/** SD 1.x projects by 1×1 convolutions, later families by linear layers; null where there is no attention to tell by. */
export function projectsLinearly(tensors: Tensors): boolean | null {
  const projection = [...tensors].find(([name]) => name.endsWith(".proj_in.weight"));
  return projection === undefined ? null : projection[1].shape.length === 2;
}

/** None, a residual block alone, or two around an attention. */
function middleOf(tensors: Tensors): string | null {
  if (count(tensors.keys(), MIDDLE) === 0) {
    return null;
  }
  return count(tensors.keys(), `${MIDDLE}.attentions`) === 0 ? "UNetMidBlock2D" : "UNetMidBlock2DCrossAttn";
}

/** Keys that U-Net and ControlNet share. */
function encoder(tensors: Tensors, family: Family) {
  const levels = range(count(tensors.keys(), "down_blocks"));
  const channels = levels.map((i) => shapeOf(tensors, `down_blocks.${i}.resnets.0.conv2.weight`, 4)[0]!);
  const layers = levels.map((i) => count(tensors.keys(), `down_blocks.${i}.resnets`));
  const depths = levels.map((i) => depthOf(tensors, `down_blocks.${i}`));
  // diffusers keeps the middle block's depth where the last level's is.
  const middle = depthOf(tensors, MIDDLE);
  const last = depths.at(-1) ?? null;
  if (middle !== null && last !== null && middle !== [last].flat()[0]) {
    throw new UnsupportedError(`the middle block has ${middle} layers, the level before it ${last}`);
  }
  const isLast = (i: number) => i === levels.length - 1;
  const read = [...tensors].find(([name]) => name.endsWith(".attn2.to_k.weight"));
  const added = tensors.get("add_embedding.linear_1.weight")?.shape[1];
  return {
    block_out_channels: channels,
    in_channels: shapeOf(tensors, "conv_in.weight", 4)[1]!,
    down_block_types: depths.map((depth) => (depth === null ? "DownBlock2D" : "CrossAttnDownBlock2D")),
    mid_block_type: middleOf(tensors),
    layers_per_block: layers.every((count) => count === layers[0]) ? layers[0]! : layers,
    transformer_layers_per_block: depths.map((depth, i) => depth ?? (isLast(i) ? (middle ?? 1) : 1)),
    attention_head_dim: channels.map((size, i) => family.heads(size, i)),
    ...(read !== undefined && { cross_attention_dim: read[1].shape[1] }),
    use_linear_projection: projectsLinearly(tensors) ?? added !== undefined,
    norm_num_groups: family.norm_num_groups,
    ...(added !== undefined && {
      addition_embed_type: "text_time",
      addition_time_embed_dim: family.addition_time_embed_dim,
      projection_class_embeddings_input_dim: added,
    }),
  };
}

/** @throws CheckpointError, UnsupportedError */
export function deriveUnet(tensors: Tensors, family: Family): UnetConfig {
  const shared = encoder(tensors, family);
  const up = shared.block_out_channels.map((_, i) => depthOf(tensors, `up_blocks.${i}`));
  const down = shared.transformer_layers_per_block.toReversed();
  const isMirrored = !down.some(Array.isArray) && up.every((depth, i) => depth === null || depth === down[i]);
  const settings = {
    ...shared,
    out_channels: shapeOf(tensors, "conv_out.weight", 4)[0]!,
    up_block_types: up.map((depth) => (depth === null ? "UpBlock2D" : "CrossAttnUpBlock2D")),
    reverse_transformer_layers_per_block: isMirrored ? null : up.map((depth) => depth ?? 1),
    time_cond_proj_dim: tensors.get("time_embedding.cond_proj.weight")?.shape[1] ?? null,
    sample_size: family.sample_size,
  };
  const config = parseConfig(unetConfig, settings, "U-Net");
  requireLevels(config, "U-Net");
  return config;
}

/** @throws CheckpointError, UnsupportedError */
export function deriveControlnet(tensors: Tensors, family: Family, globalPool: boolean): ControlnetConfig {
  const hint = "controlnet_cond_embedding";
  const [first, inputs] = shapeOf(tensors, `${hint}.conv_in.weight`, 4) as [number, number];
  const steps = range(count(tensors.keys(), `${hint}.blocks`) / 2);
  const channels = [first, ...steps.map((i) => shapeOf(tensors, `${hint}.blocks.${2 * i + 1}.weight`, 4)[0]!)];
  const settings = {
    ...encoder(tensors, family),
    conditioning_channels: inputs,
    conditioning_embedding_out_channels: channels,
    global_pool_conditions: globalPool,
  };
  return parseConfig(controlnetConfig, settings, "ControlNet");
}

/** @throws CheckpointError, UnsupportedError */
export function deriveVae(tensors: Tensors, family: Family): VaeConfig {
  const levels = range(count(tensors.keys(), "encoder.down_blocks"));
  const settings = {
    down_block_types: levels.map(() => "DownEncoderBlock2D"),
    up_block_types: levels.map(() => "UpDecoderBlock2D"),
    block_out_channels: levels.map((i) => shapeOf(tensors, `encoder.down_blocks.${i}.resnets.0.conv2.weight`, 4)[0]!),
    layers_per_block: count(tensors.keys(), "encoder.down_blocks.0.resnets"),
    latent_channels: shapeOf(tensors, "decoder.conv_in.weight", 4)[1]!,
    use_quant_conv: tensors.has("quant_conv.weight"),
    use_post_quant_conv: tensors.has("post_quant_conv.weight"),
    norm_num_groups: family.norm_num_groups,
    scaling_factor: family.scaling_factor,
  };
  return parseConfig(vaeConfig, settings, "VAE");
}

/** @throws CheckpointError, UnsupportedError */
export function deriveClip(tensors: Tensors, tower: Tower): ClipConfig {
  const prefix = tensors.has("text_model.final_layer_norm.weight") ? "text_model." : "";
  const [words, size] = shapeOf(tensors, `${prefix}embeddings.token_embedding.weight`, 2) as [number, number];
  const settings = {
    vocab_size: words,
    eos_token_id: words - 1,
    hidden_size: size,
    max_position_embeddings: shapeOf(tensors, `${prefix}embeddings.position_embedding.weight`, 2)[0]!,
    num_hidden_layers: Math.min(count(tensors.keys(), `${prefix}encoder.layers`), tower.layers),
    num_attention_heads: tower.heads(size),
    intermediate_size: shapeOf(tensors, `${prefix}encoder.layers.0.mlp.fc1.weight`, 2)[0]!,
    projection_dim: tensors.get("text_projection.weight")?.shape[0] ?? size,
    hidden_act: tower.hidden_act,
  };
  return parseConfig(clipConfig, settings, "text encoder");
}
