/**
 * The names of the original layout (CompVis's ldm, Stability's sgm, ControlNet's cldm, OpenCLIP), one table a network, and what
 * diffusers calls the same weights. Nothing is copied: a rename makes entries of another name that point to the same bytes.
 */
import type { WeightSource } from "./weights.ts";

type Tensors = ReadonlyMap<string, WeightSource>;

/** How the original tensor lies in the file, where it is not as diffusers has it. */
type Form =
  /** A 1×1 convolution [out, in, 1, 1] that is a linear layer [out, in] in diffusers. */
  | "convolution"
  /** [in, out] where diffusers has [out, in]. */
  | "transposed";

/**
 * A layer or a tensor: the names below it stay as they are. Several names of diffusers are equal parts of one tensor, along its first axis.
 */
type Row = readonly [original: string, diffusers: string | readonly string[], form?: Form];
export type OriginalNames = readonly Row[];

const range = (length: number) => Array.from({ length }, (_, i) => i);

function under(original: string, diffusers: string, names: OriginalNames): OriginalNames {
  return names.map(([from, to, form]): Row => {
    const target = typeof to === "string" ? `${diffusers}.${to}` : to.map((name) => `${diffusers}.${name}`);
    return form === undefined ? [`${original}.${from}`, target] : [`${original}.${from}`, target, form];
  });
}

/** How many entries a list such as `input_blocks.0.…`, `input_blocks.1.…` has. */
export function count(names: Iterable<string>, list: string): number {
  const entries = [...names].filter((name) => name.startsWith(`${list}.`)).map((name) => name.slice(list.length + 1));
  return new Set(entries.map((entry) => entry.split(".", 1)[0])).size;
}

const RESNET: OriginalNames = [
  ["in_layers.0", "norm1"],
  ["in_layers.2", "conv1"],
  ["emb_layers.1", "time_emb_proj"],
  ["out_layers.0", "norm2"],
  ["out_layers.3", "conv2"],
  ["skip_connection", "conv_shortcut"],
];

/** Input block 0 is the first convolution; then each level has its layers and, but for the last, a downsampler. */
function encoder(layers: readonly number[]): OriginalNames {
  let next = 1;
  return [
    ["time_embed.0", "time_embedding.linear_1"],
    ["time_embed.2", "time_embedding.linear_2"],
    ["time_embed.cond_proj", "time_embedding.cond_proj"],
    ["label_emb.0.0", "add_embedding.linear_1"],
    ["label_emb.0.2", "add_embedding.linear_2"],
    ["input_blocks.0.0", "conv_in"],
    ...layers.flatMap((count, i): OriginalNames => {
      const first = next;
      next += count + 1;
      return [
        ...range(count).flatMap(
          (j): OriginalNames => [
            ...under(`input_blocks.${first + j}.0`, `down_blocks.${i}.resnets.${j}`, RESNET),
            [`input_blocks.${first + j}.1`, `down_blocks.${i}.attentions.${j}`],
          ],
        ),
        [`input_blocks.${first + count}.0.op`, `down_blocks.${i}.downsamplers.0.conv`],
      ];
    }),
    ...under("middle_block.0", "mid_block.resnets.0", RESNET),
    ["middle_block.1", "mid_block.attentions.0"],
    ...under("middle_block.2", "mid_block.resnets.1", RESNET),
  ];
}

/** Each level has one layer more than on the way down; the upsampler follows the last one, or its transformer. */
function decoder(layers: readonly number[]): OriginalNames {
  let next = 0;
  return [
    ...layers.toReversed().flatMap((count, i): OriginalNames => {
      const first = next;
      next += count + 1;
      const last = `output_blocks.${first + count}`;
      return [
        ...range(count + 1).flatMap(
          (j): OriginalNames => [
            ...under(`output_blocks.${first + j}.0`, `up_blocks.${i}.resnets.${j}`, RESNET),
            [`output_blocks.${first + j}.1`, `up_blocks.${i}.attentions.${j}`],
          ],
        ),
        [`${last}.1.conv`, `up_blocks.${i}.upsamplers.0.conv`],
        [`${last}.2.conv`, `up_blocks.${i}.upsamplers.0.conv`],
      ];
    }),
    ["out.0", "conv_norm_out"],
    ["out.2", "conv_out"],
  ];
}

/** Layers of each level, from where the downsamplers stand among the input blocks. */
function layersOf(tensors: Tensors): number[] {
  const end = count(tensors.keys(), "input_blocks");
  const downsamplers = range(end).filter((i) => tensors.has(`input_blocks.${i}.0.op.weight`));
  return [...downsamplers, end].map((i, level, all) => i - (all[level - 1] ?? 0) - 1);
}

const unet = (tensors: Tensors): OriginalNames => originalUnet(layersOf(tensors));

/** Of a U-Net with so many layers at each level. */
export const originalUnet = (layers: readonly number[]): OriginalNames => [...encoder(layers), ...decoder(layers)];

/** The hint encoder is a list of convolutions and, between them, activations; every residual has a zero convolution. */
function controlnet(tensors: Tensors): OriginalNames {
  const hint = count(tensors.keys(), "input_hint_block");
  return [
    ...encoder(layersOf(tensors)),
    ["input_hint_block.0", "controlnet_cond_embedding.conv_in"],
    ...range(hint - 2).map((i): Row => [`input_hint_block.${2 * (i + 1)}`, `controlnet_cond_embedding.blocks.${i}`]),
    [`input_hint_block.${2 * (hint - 1)}`, "controlnet_cond_embedding.conv_out"],
    ...range(count(tensors.keys(), "zero_convs")).map((i): Row => [`zero_convs.${i}.0`, `controlnet_down_blocks.${i}`]),
    ["middle_block_out.0", "controlnet_mid_block"],
  ];
}

const VAE_RESNET: OriginalNames = [
  ["norm1", "norm1"],
  ["conv1", "conv1"],
  ["norm2", "norm2"],
  ["conv2", "conv2"],
  ["nin_shortcut", "conv_shortcut"],
];

const VAE_MIDDLE: OriginalNames = [
  ...under("block_1", "resnets.0", VAE_RESNET),
  ["attn_1.norm", "attentions.0.group_norm"],
  ["attn_1.q", "attentions.0.to_q", "convolution"],
  ["attn_1.k", "attentions.0.to_k", "convolution"],
  ["attn_1.v", "attentions.0.to_v", "convolution"],
  ["attn_1.proj_out", "attentions.0.to_out.0", "convolution"],
  ...under("block_2", "resnets.1", VAE_RESNET),
];

/** The original numbers the decoder's levels from the image down, diffusers from the latents up. */
function vae(tensors: Tensors): OriginalNames {
  const levels = count(tensors.keys(), "encoder.down");
  const layers = count(tensors.keys(), "encoder.down.0.block");
  const half = (part: string): OriginalNames => [
    [`${part}.conv_in`, `${part}.conv_in`],
    ...under(`${part}.mid`, `${part}.mid_block`, VAE_MIDDLE),
    [`${part}.norm_out`, `${part}.conv_norm_out`],
    [`${part}.conv_out`, `${part}.conv_out`],
  ];
  return [
    ...half("encoder"),
    ...half("decoder"),
    ...range(levels).flatMap((i): OriginalNames => {
      const [down, up] = [`encoder.down_blocks.${i}`, `decoder.up_blocks.${levels - 1 - i}`];
      return [
        ...range(layers).flatMap((j) => under(`encoder.down.${i}.block.${j}`, `${down}.resnets.${j}`, VAE_RESNET)),
        [`encoder.down.${i}.downsample.conv`, `${down}.downsamplers.0.conv`],
        ...range(layers + 1).flatMap((j) => under(`decoder.up.${i}.block.${j}`, `${up}.resnets.${j}`, VAE_RESNET)),
        [`decoder.up.${i}.upsample.conv`, `${up}.upsamplers.0.conv`],
      ];
    }),
    ["quant_conv", "quant_conv"],
    ["post_quant_conv", "post_quant_conv"],
  ];
}

/** OpenAI's tower is stored as transformers names it. */
const clip = (tensors: Tensors): OriginalNames =>
  [...new Set([...tensors.keys()].map((name) => name.split(".", 1)[0]!))].map((part): Row => [part, part]);

const projections = (kind: string) => ["q_proj", "k_proj", "v_proj"].map((name) => `self_attn.${name}.${kind}`);

const OPEN_CLIP_LAYER: OriginalNames = [
  ["ln_1", "layer_norm1"],
  ["attn.in_proj_weight", projections("weight")],
  ["attn.in_proj_bias", projections("bias")],
  ["attn.out_proj", "self_attn.out_proj"],
  ["ln_2", "layer_norm2"],
  ["mlp.c_fc", "mlp.fc1"],
  ["mlp.c_proj", "mlp.fc2"],
];

const openClip = (tensors: Tensors): OriginalNames => [
  ["token_embedding", "text_model.embeddings.token_embedding"],
  ["positional_embedding", "text_model.embeddings.position_embedding.weight"],
  ...range(count(tensors.keys(), "transformer.resblocks")).flatMap((i) =>
    under(`transformer.resblocks.${i}`, `text_model.encoder.layers.${i}`, OPEN_CLIP_LAYER),
  ),
  ["ln_final", "text_model.final_layer_norm"],
];

/** SDXL's second tower gives pooled text too. */
const openClipPooled = (tensors: Tensors): OriginalNames => [
  ...openClip(tensors),
  ["text_projection", "text_projection.weight", "transposed"],
  // Written so by diffusers' convert_diffusers_to_original_sdxl.py of before 2024.
  ["text_projection.weight", "text_projection.weight"],
];

/** The name map of a network, from its tensors' own names: they show how many levels, layers and blocks there are. */
export const originalNames = { unet, controlnet, vae, clip, openClip, openClipPooled } satisfies Record<
  string,
  (tensors: Tensors) => OriginalNames
>;

function inForm(source: WeightSource, form: Form | undefined): WeightSource {
  const { shape } = source;
  if (form === "convolution" && shape.length === 4 && shape[2] === 1 && shape[3] === 1) {
    return { ...source, shape: shape.slice(0, 2) };
  }
  return form === "transposed" ? { ...source, shape: [...shape].reverse(), transposed: true } : source;
}

/** Equal parts along the first axis: rows lie one after another, so that each part is a range of the same bytes. */
function part(source: WeightSource, i: number, parts: number): WeightSource {
  const [rows = 0, ...rest] = source.shape;
  const length = source.length / parts;
  return { ...source, shape: [rows / parts, ...rest], offset: source.offset + i * length, length };
}

/** The row for a tensor and the rest of its name: its own, or that of the nearest layer that it lies in. */
function find(rows: ReadonlyMap<string, Row>, name: string): [row: Row, rest: string] | null {
  for (let end = name.length; end > 0; end = name.lastIndexOf(".", end - 1)) {
    const row = rows.get(name.slice(0, end));
    if (row !== undefined) {
      return [row, name.slice(end)];
    }
  }
  return null;
}

/** The tensors that `names` knows, as diffusers names them; `unknown` gets the names of the others. */
export function renamed(tensors: Tensors, names: OriginalNames, unknown: string[]): Map<string, WeightSource> {
  const rows = new Map(names.map((row) => [row[0], row]));
  const result = new Map<string, WeightSource>();
  for (const [name, source] of tensors) {
    const found = find(rows, name);
    if (found === null) {
      unknown.push(name);
      continue;
    }
    const [[, diffusers, form], rest] = found;
    const targets = [diffusers].flat();
    targets.forEach((target, i) => {
      result.set(target + rest, part(inForm(source, form), i, targets.length));
    });
  }
  return result;
}
