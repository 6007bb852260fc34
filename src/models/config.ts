import * as z from "zod";
import { saidEntries } from "./said-entries.ts";

/**
 * What a diffusers component's config.json may say: every argument of its class (`__init__` in src/diffusers/models), with diffusers'
 * default. A value that these graphs do not compute is refused by its key. A key that the class does not have is ignored, as
 * diffusers ignores it, with a warning: EMA training, for one, leaves its own settings there.
 */

/** A config, or a model folder, that asks for something this project does not do. */
export class UnsupportedError extends Error {}

const fixed = <T extends z.core.util.Literal>(value: T) => z.literal(value).default(value as never);
const none = z.null({ error: "not supported" }).default(null);
const off = z.union([z.null(), z.literal(false)], { error: "not supported" }).default(null);
/** What changes no result here, whatever it is. */
const unheeded = z.unknown().optional();
const count = z.int().positive();
/** Of what training leaves out. */
const share = z.number().min(0).max(1).optional();
const perLevel = <T extends z.ZodType>(item: T) => z.union([item, z.array(item)]);
const depth = z.int().nonnegative();
const kernel = z.union([z.literal(1), z.literal(3), z.literal(5), z.literal(7)]).default(3);

const block = {
  act_fn: z.enum(["silu", "swish"]).default("silu"),
  block_out_channels: z.array(count),
  in_channels: count.default(4),
  norm_num_groups: count.default(32),
};

/** Arguments that U-Net and ControlNet share: the encoder half and the time embedding. */
const encoder = {
  ...block,
  block_out_channels: z.array(count).default([320, 640, 1280, 1280]),
  down_block_types: z
    .array(z.enum(["CrossAttnDownBlock2D", "DownBlock2D"]))
    .default(["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"]),
  /** Of a level, or of each of its layers. */
  transformer_layers_per_block: perLevel(perLevel(depth)).default(1),
  // diffusers' name is a mistake it keeps: this is the number of heads.
  attention_head_dim: perLevel(count).default(8),
  use_linear_projection: z.boolean().default(false),
  only_cross_attention: perLevel(z.boolean()).default(false),
  flip_sin_to_cos: z.boolean().default(true),
  freq_shift: z.number().default(0),
  norm_eps: z.number().default(1e-5),
  addition_embed_type: z.literal("text_time").nullable().default(null),
  addition_time_embed_dim: count.nullable().default(null),
  projection_class_embeddings_input_dim: count.nullable().default(null),
  class_embed_type: off,
  num_class_embeds: none,
  encoder_hid_dim: none,
  encoder_hid_dim_type: none,
  downsample_padding: fixed(1),
  mid_block_scale_factor: fixed(1),
  resnet_time_scale_shift: z.enum(["default", "scale_shift"]).default("default"),
  // Only chooses the precision of the softmax, and these graphs compute in float32.
  upcast_attention: z.boolean().nullable().default(false),
  addition_embed_type_num_heads: unheeded,
};

const midBlocks = z.enum(["UNetMidBlock2DCrossAttn", "UNetMidBlock2D"]);

export const unetConfig = z.strictObject({
  ...encoder,
  out_channels: count.default(4),
  layers_per_block: perLevel(count).default(2),
  cross_attention_dim: perLevel(count)
    .refine(
      (sizes) => new Set([sizes].flat()).size === 1,
      "levels that read text of different widths are not supported",
    )
    .transform((sizes) => (typeof sizes === "number" ? sizes : sizes[0]!))
    .default(1280),
  mid_block_type: midBlocks.nullable().default("UNetMidBlock2DCrossAttn"),
  up_block_types: z
    .array(z.enum(["CrossAttnUpBlock2D", "UpBlock2D"]))
    .default(["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"]),
  reverse_transformer_layers_per_block: z.array(perLevel(depth)).nullable().default(null),
  time_cond_proj_dim: count.nullable().default(null),
  time_embedding_dim: count.nullable().default(null),
  sample_size: perLevel(count).nullable().default(null),
  attention_type: fixed("default"),
  conv_in_kernel: kernel,
  conv_out_kernel: kernel,
  time_embedding_type: fixed("positional"),
  // diffusers refuses it too: attention_head_dim has its part.
  num_attention_heads: none,
  center_input_sample: off,
  dual_cross_attention: off,
  class_embeddings_concat: off,
  time_embedding_act_fn: none,
  timestep_post_act: none,
  // Read by blocks of other types alone, or in training.
  resnet_out_scale_factor: unheeded,
  resnet_skip_time_act: unheeded,
  mid_block_only_cross_attention: unheeded,
  cross_attention_norm: unheeded,
  dropout: share,
});
export type UnetConfig = z.infer<typeof unetConfig>;

export const controlnetConfig = z.strictObject({
  ...encoder,
  layers_per_block: count.default(2),
  cross_attention_dim: count.default(1280),
  num_attention_heads: perLevel(count).nullable().default(null),
  mid_block_type: midBlocks.default("UNetMidBlock2DCrossAttn"),
  conditioning_channels: count.default(3),
  conditioning_embedding_out_channels: z.array(count).default([16, 32, 96, 256]),
  controlnet_conditioning_channel_order: z.enum(["rgb", "bgr"]).default("rgb"),
  global_pool_conditions: z.boolean().default(false),
  // Of a ControlNet-Union's config alone, which repeats what its tensors say.
  num_control_type: count.optional(),
  num_trans_channel: count.optional(),
  num_trans_head: count.optional(),
  num_trans_layer: count.optional(),
  num_proj_channel: count.optional(),
});

/** What a ControlNet-Union has more than another (union.ts). */
export interface Union {
  /** How many types of hints it knows. */
  readonly types: number;
  /** Transformer layers over the tokens. */
  readonly layers: number;
}
export type ControlnetConfig = z.infer<typeof controlnetConfig> & { readonly union?: Union };
export type EncoderConfig = UnetConfig | ControlnetConfig;

export const vaeConfig = z
  .strictObject({
    ...block,
    in_channels: count.default(3),
    out_channels: fixed(3),
    block_out_channels: z.array(count).default([64]),
    down_block_types: z.array(z.literal("DownEncoderBlock2D")).default(["DownEncoderBlock2D"]),
    up_block_types: z.array(z.literal("UpDecoderBlock2D")).default(["UpDecoderBlock2D"]),
    layers_per_block: count.default(1),
    latent_channels: count.default(4),
    scaling_factor: z
      .number()
      .refine((factor) => factor !== 0, "must not be 0")
      .default(0.18215),
    mid_block_add_attention: z.boolean().default(true),
    use_quant_conv: z.boolean().default(true),
    use_post_quant_conv: z.boolean().default(true),
    latents_mean: z.array(z.number()).nullable().default(null),
    latents_std: z.array(z.number()).nullable().default(null),
    // diffusers' SD and SDXL pipelines do not look at it.
    shift_factor: z.number().nullable().optional(),
    sample_size: perLevel(z.number()).optional(),
    // Only chooses the precision, and these graphs compute in float32.
    force_upcast: unheeded,
  })
  .refine(
    ({ block_out_channels: levels, down_block_types: down, up_block_types: up }) =>
      down.length === levels.length && up.length === levels.length,
    { path: ["block_out_channels"], error: "there must be as many as down_block_types and up_block_types" },
  );
export type VaeConfig = z.infer<typeof vaeConfig>;

/** diffusers' AutoencoderTiny; its encoder is not used. */
export const tinyVaeConfig = z.strictObject({
  out_channels: fixed(3),
  latent_channels: count.default(4),
  decoder_block_out_channels: z.array(count).default([64, 64, 64, 64]),
  num_decoder_blocks: z.array(count).default([3, 3, 3, 1]),
  act_fn: fixed("relu"),
  upsample_fn: fixed("nearest"),
  upsampling_scaling_factor: fixed(2),
  scaling_factor: fixed(1),
  shift_factor: z.union([off, z.literal(0)]),
  in_channels: unheeded,
  block_out_channels: unheeded,
  encoder_block_out_channels: unheeded,
  num_encoder_blocks: unheeded,
  latent_magnitude: unheeded,
  latent_shift: unheeded,
  force_upcast: unheeded,
});
export type TinyVaeConfig = z.infer<typeof tinyVaeConfig>;

/**
 * What transformers writes into every model's config, in one version or another, and what only training or the writing of text heeds:
 * it changes nothing here, whatever it is.
 */
const UNHEEDED = [
  ...["architectures", "dtype", "torch_dtype", "transformers_version", "return_dict", "tokenizer_class", "use_cache"],
  ...["output_attentions", "output_hidden_states", "output_scores", "return_dict_in_generate", "tf_legacy_loss"],
  ...["torchscript", "use_bfloat16", "attn_implementation", "gradient_checkpointing", "chunk_size_feed_forward"],
  ...["dropout", "attention_dropout", "initializer_factor", "initializer_range", "tie_word_embeddings"],
  ...["bos_token_id", "pad_token_id", "sep_token_id", "decoder_start_token_id", "prefix", "bad_words_ids"],
  ...["forced_bos_token_id", "forced_eos_token_id", "suppress_tokens", "begin_suppress_tokens"],
  ...["id2label", "label2id", "problem_type", "finetuning_task", "task_specific_params"],
  ...["max_length", "min_length", "do_sample", "early_stopping", "num_beams", "num_beam_groups", "diversity_penalty"],
  ...["temperature", "top_k", "top_p", "typical_p", "repetition_penalty", "length_penalty", "num_return_sequences"],
  ...["no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "exponential_decay_length_penalty"],
];

const activation = z.enum([
  ...(["quick_gelu", "gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "relu", "silu", "swish"] as const),
]);

/** transformers' CLIPTextConfig, with the defaults of that class. */
export const clipConfig = z.strictObject({
  ...Object.fromEntries(UNHEEDED.map((key) => [key, unheeded])),
  attention_dropout: share,
  initializer_factor: z.number().optional(),
  initializer_range: z.number().optional(),
  bos_token_id: z.int().nullable().optional(),
  pad_token_id: z.int().nullable().optional(),
  id2label: z.record(z.string(), z.unknown()).nullable().optional(),
  model_type: z.enum(["clip_text_model", "clip"]).default("clip_text_model"),
  pruned_heads: z
    .record(z.string(), z.unknown())
    .refine((heads) => Object.keys(heads).length === 0, "heads that were pruned are not supported")
    .optional(),
  hidden_act: activation.default("quick_gelu"),
  hidden_size: count.default(512),
  intermediate_size: count.default(2048),
  layer_norm_eps: z.number().gt(0).lt(1).default(1e-5),
  max_position_embeddings: count.default(77),
  num_attention_heads: count.default(8),
  num_hidden_layers: count.default(12),
  projection_dim: count.default(512),
  vocab_size: count.default(49408),
  eos_token_id: z.int().default(49407),
});
export type ClipConfig = z.infer<typeof clipConfig>;

/** transformers' CLIPVisionConfig, with the defaults of that class. */
export const clipVisionConfig = z.strictObject({
  ...Object.fromEntries(UNHEEDED.map((key) => [key, z.unknown().optional()])),
  model_type: z.enum(["clip_vision_model", "clip"]).default("clip_vision_model"),
  hidden_act: activation.default("quick_gelu"),
  hidden_size: count.default(768),
  intermediate_size: count.default(3072),
  layer_norm_eps: z.number().default(1e-5),
  num_attention_heads: count.default(12),
  num_hidden_layers: count.default(12),
  image_size: count.default(224),
  patch_size: count.default(32),
  projection_dim: count.default(512),
  num_channels: fixed(3),
});
export type ClipVisionConfig = z.infer<typeof clipVisionConfig>;

/** diffusers' T2IAdapter; which of its forms it is. `channels`: four levels, of a light one three. */
export const t2iAdapterConfig = z.strictObject({
  adapter_type: z.enum(["full_adapter", "full_adapter_xl", "light_adapter"]).default("full_adapter"),
  in_channels: count.default(3),
  channels: z.array(count).min(3).max(4).default([320, 640, 1280, 1280]),
  num_res_blocks: count.default(2),
  downscale_factor: count.default(8),
});
export type T2iAdapterConfig = z.infer<typeof t2iAdapterConfig>;

/** diffusers and transformers quantize what they load where a config asks for it, whatever the weights are. @throws UnsupportedError */
function requirePlain(json: object, component: string): void {
  const { quantization_config: asked } = json as { quantization_config?: { quant_method?: unknown } | null };
  if (asked !== undefined && asked !== null) {
    throw new UnsupportedError(
      `${component}: "quantization_config": weights quantized by ${asked.quant_method} are not supported`,
    );
  }
}

/**
 * A component's config with every default filled in.
 * @param warnings told of the keys that the class does not have
 * @throws UnsupportedError that names each key that cannot be had, with what is allowed.
 */
export function parseConfig<T extends z.ZodObject>(
  schema: T,
  json: object,
  component: string,
  warnings: string[] = [],
): z.infer<T> {
  const { _use_default_values: unsaid = [] } = json as { _use_default_values?: unknown };
  if (typeof unsaid !== "string" && (typeof unsaid !== "object" || unsaid === null)) {
    throw new UnsupportedError(`${component}: "_use_default_values" must be a list`);
  }
  requirePlain(json, component);
  const said = saidEntries(json);
  const ignored = said.map(([key]) => key).filter((key) => !(key in schema.shape || key.startsWith("_")));
  if (ignored.length > 0) {
    warnings.push(`${component}: ${ignored.join(", ")} ignored, as diffusers does`);
  }
  const result = schema.safeParse(Object.fromEntries(said.filter(([key]) => key in schema.shape)));
  if (!result.success) {
    const reasons = result.error.issues.map((issue) => `"${issue.path.join(".")}": ${issue.message}`);
    throw new UnsupportedError(`${component}: ${reasons.join("; ")}`);
  }
  return result.data;
}
