/** IP-Adapters (arXiv 2308.06721) as h94/IP-Adapter publishes them: classic, Plus with its resampler, and Full with a token a patch. */
import { basename, dirname, join } from "node:path";
import type { Computation } from "../onnx/build.ts";
import { add, concat, filledLike, gelu, mul, reshape, split } from "../onnx/operators.ts";
import { input, show, type Value } from "../onnx/value.ts";
import { type Checkpoint, findCheckpoint, readJson } from "./checkpoint.ts";
import { clipVision } from "./clip-vision.ts";
import { type ClipVisionConfig, clipVisionConfig, parseConfig, UnsupportedError } from "./config.ts";
import { linear, mix, norm } from "./layers.ts";
import { namedLayers } from "./lora/layers.ts";
import { type Network, storedNetwork } from "./network.ts";
import type { BaseModel } from "./opened.ts";
import { count } from "./original-names.ts";
import { CheckpointError } from "./safetensors.ts";
import { readWeightsFile } from "./torch-file.ts";
import type { Weights } from "./weights.ts";

/** CLIP's vision tower, which all IP-Adapters of a folder share. */
export interface ImageEncoder {
  readonly config: ClipVisionConfig;
  readonly network: Network;
}

export type IpAdapterKind = "base" | "plus" | "full";

export interface IpAdapter {
  readonly kind: IpAdapterKind;
  readonly encoder: ImageEncoder;
  /** Widths of the attentions to the text, in the file's order; and of the text. */
  readonly widths: readonly number[];
  readonly cross_attention_dim: number;
  /**
   * What the encoder gives (base: image_embeds [N, P]; plus, full: penultimate [N, S, D]) → tokens [N, T, C], and for attention i
   * `k_i` and `v_i` [N, T, width].
   */
  readonly network: Network;
}

export const IMAGE_ENCODER = "image_encoder";

/** @throws CheckpointError, UnsupportedError */
export function openImageEncoder(folder: string): ImageEncoder {
  const config = parseConfig(
    clipVisionConfig,
    readJson(join(folder, "config.json")),
    `${basename(folder)}/config.json`,
  );
  return { config, network: storedNetwork(findCheckpoint(folder, "model"), (w) => clipVision(w, config)) };
}

function shapeOf({ tensors }: Checkpoint, name: string, axes: number): readonly number[] {
  const shape = tensors.get(name)?.shape;
  if (shape === undefined) throw new CheckpointError(`the file has no tensor "${name}"`);
  if (shape.length !== axes || shape.includes(0)) {
    throw new CheckpointError(`"${name}" has the shape ${show(shape)}: ${axes} axes with something in them are needed`);
  }
  return shape;
}

/** ImageProjModel: one vector of the image → four tokens. */
function project(w: Weights, embeds: Value, size: number, width: number): Value {
  const tokens = linear(w.at("proj"), embeds, size); // [N, T·C]
  return norm(w.at("norm"), reshape(tokens, ["N", size / width, width]), 1e-5);
}

/** MLPProjModel: each token of the image → a token. */
function projectAll(w: Weights, states: Value, hidden: number, width: number): Value {
  const between = gelu(linear(w.at("proj.0"), states, hidden)); // [N, S, hidden]
  return norm(w.at("proj.3"), linear(w.at("proj.2"), between, width), 1e-5);
}

const HEAD = 64;

/** Resampler (tencent-ailab/IP-Adapter, resampler.py): latents look at the image's tokens, in layers. */
function resample(
  w: Weights,
  states: Value,
  dims: { latents: readonly number[]; layers: number; inner: number; width: number; hidden: number },
): Value {
  const { latents, layers, inner, width, hidden } = dims;
  const size = latents[2]!;
  const x = linear(w.at("proj_in"), states, size);
  const ones = reshape(filledLike(1, states, 0), ["N", 1, 1]);
  let l = mul(ones, w.get("latents", latents)); // [N, tokens, D]
  for (let i = 0; i < layers; i++) {
    const attention = w.at(`layers.${i}.0`);
    const [seen, own] = [norm(attention.at("norm1"), x, 1e-5), norm(attention.at("norm2"), l, 1e-5)];
    const q = linear(attention.at("to_q"), own, inner, { bias: false });
    const both = concat([seen, own], 1);
    const kv = linear(attention.at("to_kv"), both, 2 * inner, { bias: false });
    const [k, v] = split(kv, 2, 2) as [Value, Value]; // [N, S + tokens, inner] each
    const mixed = mix(attention, q, k, v, inner / HEAD);
    l = add(linear(attention.at("to_out"), mixed, size, { bias: false }), l);
    const forward = w.at(`layers.${i}.1`);
    const between = gelu(linear(forward.at("1"), norm(forward.at("0"), l, 1e-5), hidden, { bias: false }));
    l = add(linear(forward.at("3"), between, size, { bias: false }), l);
  }
  return norm(w.at("norm_out"), linear(w.at("proj_out"), l, width), 1e-5);
}

/** The file's numbers of the attentions to the text: 1, 3, 5 … */
function attentions({ tensors }: Checkpoint): number[] {
  const numbers = [...tensors.keys()].flatMap((name) => /^ip_adapter\.(\d+)\.to_k_ip\.weight$/.exec(name)?.[1] ?? []);
  return numbers.map(Number).sort((a, b) => a - b);
}

function kindOf({ tensors }: Checkpoint): IpAdapterKind {
  if (tensors.has("image_proj.proj.weight")) return "base";
  if (tensors.has("image_proj.latents")) return "plus";
  if (tensors.has("image_proj.proj.3.weight")) return "full";
  const names = [...tensors.keys()];
  if (names.some((name) => /^image_proj\.(proj\.0|perceiver_resampler|norm)\.|\.to_\w+_lora\./.test(name))) {
    throw new UnsupportedError(
      "an IP-Adapter of the kind FaceID, which looks at a face through InsightFace, is not supported: only classic, Plus and Full are",
    );
  }
  throw new CheckpointError("not an IP-Adapter: the file has neither image_proj.proj.* nor image_proj.latents");
}

function computation(w: Weights, checkpoint: Checkpoint, kind: IpAdapterKind, numbers: readonly number[]): Computation {
  const shape = (name: string, axes: number) => shapeOf(checkpoint, name, axes);
  const width = shape(`ip_adapter.${numbers[0]}.to_k_ip.weight`, 2)[1]!;
  const projection = w.at("image_proj");
  let from: Value;
  let tokens: Value;
  if (kind === "base") {
    const [size, embeds] = shape("image_proj.proj.weight", 2) as [number, number];
    from = input("image_embeds", "float32", ["N", embeds]);
    tokens = project(projection, from, size, width);
  } else if (kind === "full") {
    const [hidden, size] = shape("image_proj.proj.0.weight", 2) as [number, number];
    from = input("penultimate", "float32", ["N", "S", size]);
    tokens = projectAll(projection, from, hidden, width);
  } else {
    from = input("penultimate", "float32", ["N", "S", shape("image_proj.proj_in.weight", 2)[1]!]);
    tokens = resample(projection, from, {
      latents: shape("image_proj.latents", 3),
      layers: count(checkpoint.tensors.keys(), "image_proj.layers"),
      inner: shape("image_proj.layers.0.0.to_q.weight", 2)[0]!,
      width,
      hidden: shape("image_proj.layers.0.1.1.weight", 2)[0]!,
    });
  }
  const each = numbers.flatMap((number, i) =>
    (["k", "v"] as const).map((which) => {
      const name = `ip_adapter.${number}.to_${which}_ip`;
      const value = linear(w.at(name), tokens, shape(`${name}.weight`, 2)[0]!, { bias: false });
      return [`${which}_${i}`, value] as const;
    }),
  );
  return { inputs: [from], outputs: { tokens, ...Object.fromEntries(each) } };
}

/** An IP-Adapter's file; its encoder lies beside it. @throws CheckpointError, UnsupportedError, ShapeError */
export function openIpAdapter(file: string): IpAdapter {
  const checkpoint = readWeightsFile(file);
  const kind = kindOf(checkpoint);
  const numbers = attentions(checkpoint);
  if (numbers.length === 0 || numbers.some((number, i) => number !== 2 * i + 1)) {
    throw new CheckpointError(`its attentions are numbered ${show(numbers)}: 1, 3, 5 … without a gap are needed`);
  }
  const known = /^(image_proj\.|ip_adapter\.\d+\.to_[kv]_ip\.weight$)/;
  const unknown = [...checkpoint.tensors.keys()].find((name) => !known.test(name));
  if (unknown !== undefined) throw new UnsupportedError(`"${unknown}" is nothing that is known of an IP-Adapter`);
  const shapes = numbers.map((number) => shapeOf(checkpoint, `ip_adapter.${number}.to_k_ip.weight`, 2));
  const encoder = openImageEncoder(join(dirname(file), IMAGE_ENCODER));
  const adapter: IpAdapter = {
    kind,
    encoder,
    widths: shapes.map(([width]) => width!),
    cross_attention_dim: shapes[0]![1]!,
    network: storedNetwork(checkpoint, (w) => computation(w, checkpoint, kind, numbers)),
  };
  const reason = encoderMisfit(adapter);
  if (reason !== null) throw new CheckpointError(reason);
  return adapter;
}

function encoderMisfit({ kind, encoder, network }: IpAdapter): string | null {
  const [from] = network.computation().inputs;
  const needed = from!.shape.at(-1);
  const given = kind === "base" ? encoder.config.projection_dim : encoder.config.hidden_size;
  return needed === given ? null : `it reads images of ${needed} values, ${IMAGE_ENCODER} gives ${given}`;
}

/** Where the attentions to the text are in a U-Net, in the order of IP-Adapter's files: down, up, mid. */
export function crossAttentions(unet: Network): { at: string; width: number }[] {
  const order = ["down_blocks", "up_blocks", "mid_block"];
  const key = (path: string) => [order.indexOf(path.split(".", 1)[0]!), ...(path.match(/\d+/g) ?? []).map(Number)];
  const compare = (a: number[], b: number[]) => a.map((n, i) => n - (b[i] ?? 0)).find((d) => d !== 0) ?? 0;
  return [...namedLayers(unet)]
    .filter(([path]) => path.endsWith(".attn2.to_q"))
    .map(([path, { weight }]) => ({ at: path.slice(0, -".to_q".length), width: weight.shape[0] as number }))
    .sort((a, b) => compare(key(a.at), key(b.at)));
}

/** Why an IP-Adapter cannot be used with a model, with both shapes; null when it can. */
export function ipAdapterMisfit(model: BaseModel, { widths, cross_attention_dim }: IpAdapter): string | null {
  const own = crossAttentions(model.networks.unet).map(({ width }) => width);
  if (show(own) !== show(widths)) {
    return `it is for ${widths.length} attentions of the widths ${show(widths)}, the model has ${own.length}: ${show(own)}`;
  }
  return cross_attention_dim === model.unet.cross_attention_dim
    ? null
    : `its tokens have ${cross_attention_dim} values, the model's text ${model.unet.cross_attention_dim}`;
}
