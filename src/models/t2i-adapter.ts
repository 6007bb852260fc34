/** T2I-Adapters (arXiv 2302.08453): diffusers' full adapters for SD 1.x and SDXL and its light ones, in its keys and in TencentARC's. */
import { join } from "node:path";
import type { Computation } from "../onnx/build.ts";
import { add, relu } from "../onnx/operators.ts";
import { averagePool } from "../onnx/pooling.ts";
import { input, show, type Value } from "../onnx/value.ts";
import { type Checkpoint, findCheckpoint, readJson } from "./checkpoint.ts";
import { parseConfig, type T2iAdapterConfig, t2iAdapterConfig, UnsupportedError } from "./config.ts";
import { convolution } from "./layers.ts";
import { type Network, storedNetwork } from "./network.ts";
import type { BaseModel } from "./opened.ts";
import { count } from "./original-names.ts";
import { CheckpointError } from "./safetensors.ts";
import { readWeightsFile } from "./torch-file.ts";
import { FEATURES, featureInputs } from "./unet.ts";
import { requireRead } from "./unread.ts";
import type { WeightSource, Weights } from "./weights.ts";

export interface T2iAdapter {
  readonly config: T2iAdapterConfig;
  /** unshuffled [1, in_channels·f², H/f, W/f], each f×f pixels as channels → feature_0 … feature_3. */
  readonly network: Network;
}

/** The pixels of a side that become channels. */
export const UNSHUFFLE: Record<T2iAdapterConfig["adapter_type"], number> = {
  full_adapter: 8,
  full_adapter_xl: 16,
  light_adapter: 8,
};
/** The levels before which the picture is halved. */
const HALVED: Record<T2iAdapterConfig["adapter_type"], readonly number[]> = {
  full_adapter: [1, 2, 3],
  full_adapter_xl: [2],
  light_adapter: [1, 2, 3],
};

/** Channels of the features: a light adapter's last level has as many as the one before. */
const featureChannels = ({ adapter_type: type, channels }: T2iAdapterConfig) =>
  type === "light_adapter" ? [...channels, channels.at(-1)!] : channels;

/** A level of a light adapter: fewer channels within than without. */
function lightLevel(w: Weights, from: Value, size: number, blocks: number): Value {
  const inner = Math.floor(size / 4);
  let h = convolution(w.at("in_conv"), from, inner, 1);
  for (let j = 0; j < blocks; j++) {
    const resnet = w.at(`resnets.${j}`);
    h = add(convolution(resnet.at("block2"), relu(convolution(resnet.at("block1"), h, inner)), inner), h);
  }
  return convolution(w.at("out_conv"), h, size, 1);
}

function lightAdapter(weights: Weights, config: T2iAdapterConfig): Computation {
  const pixels = input("unshuffled", "float32", [1, config.in_channels * UNSHUFFLE.light_adapter ** 2, "h", "w"]);
  let h = pixels;
  const features = featureChannels(config).map((size, level): Value => {
    if (HALVED.light_adapter.includes(level)) h = averagePool(h);
    h = lightLevel(weights.at(`adapter.body.${level}`), h, size, config.num_res_blocks);
    return h;
  });
  return { inputs: [pixels], outputs: Object.fromEntries(features.map((value, i) => [`feature_${i}`, value])) };
}

function adapter(weights: Weights, config: T2iAdapterConfig): Computation {
  const { adapter_type: type, channels } = config;
  const pixels = input("unshuffled", "float32", [1, config.in_channels * UNSHUFFLE[type] ** 2, "h", "w"]);
  const w = weights.at("adapter");
  let h = convolution(w.at("conv_in"), pixels, channels[0]!);
  const features = channels.map((size, level): Value => {
    const block = w.at(`body.${level}`);
    if (HALVED[type].includes(level)) h = averagePool(h);
    if (h.shape[1] !== size) h = convolution(block.at("in_conv"), h, size, 1);
    for (let j = 0; j < config.num_res_blocks; j++) {
      const resnet = block.at(`resnets.${j}`);
      h = add(convolution(resnet.at("block2"), relu(convolution(resnet.at("block1"), h, size)), size, 1), h);
    }
    return h;
  });
  return { inputs: [pixels], outputs: Object.fromEntries(features.map((value, i) => [`feature_${i}`, value])) };
}

/** TencentARC's light adapters: body.k.body.j is adapter.body.k.resnets.j. */
const renamedLight = (tensors: ReadonlyMap<string, WeightSource>): Map<string, WeightSource> =>
  new Map(
    [...tensors].map(([name, source]) => [`adapter.${name.replace(/^(body\.\d+)\.body\./, "$1.resnets.")}`, source]),
  );

/** TencentARC numbers the residual blocks of all levels in one list: body.N.… is adapter.body.k.resnets.j.…, N = k · blocks + j. */
function renamed(tensors: ReadonlyMap<string, WeightSource>, blocks: number): Map<string, WeightSource> {
  return new Map(
    [...tensors].map(([name, source]) => {
      const [, number, rest] = /^body\.(\d+)\.(.+)$/.exec(name) ?? [];
      if (number === undefined) return [`adapter.${name}`, source];
      const level = Math.floor(Number(number) / blocks);
      const part = rest!.startsWith("in_conv") ? rest : `resnets.${Number(number) % blocks}.${rest}`;
      return [`adapter.body.${level}.${part}`, source];
    }),
  );
}

function deriveConfig(tensors: ReadonlyMap<string, WeightSource>): T2iAdapterConfig {
  const shape = (name: string) => tensors.get(name)?.shape ?? [];
  const light = tensors.has("adapter.body.0.out_conv.weight");
  const pixels = shape(light ? "adapter.body.0.in_conv.weight" : "adapter.conv_in.weight")[1] ?? 0;
  const types = Object.entries(UNSHUFFLE) as [T2iAdapterConfig["adapter_type"], number][];
  const found = types.find(
    ([type, side]) => (type === "light_adapter") === light && [1, 3].includes(pixels / side ** 2),
  );
  if (found === undefined) {
    throw new UnsupportedError(
      `its first convolution reads ${pixels} channels: 64 and 192 (SD) and 256 and 768 (SDXL, full) are those of an adapter`,
    );
  }
  const [adapter_type, side] = found;
  const last = light ? "out_conv" : "resnets.0.block2";
  const settings = {
    adapter_type,
    in_channels: pixels / side ** 2,
    channels: Array.from(
      { length: light ? FEATURES - 1 : FEATURES },
      (_, k) => shape(`adapter.body.${k}.${last}.weight`)[0],
    ),
    num_res_blocks: count(tensors.keys(), "adapter.body.0.resnets"),
    downscale_factor: side,
  };
  return parseConfig(t2iAdapterConfig, settings, "T2I-Adapter");
}

/** @throws UnsupportedError when a file has more than the network reads */
function wholeNetwork(checkpoint: Checkpoint, config: T2iAdapterConfig): Network {
  const { adapter_type: type, channels } = config;
  const levels = type === "light_adapter" ? FEATURES - 1 : FEATURES;
  if (channels.length !== levels) {
    throw new UnsupportedError(`config.json: "channels": ${channels.length} numbers, a ${type} has ${levels}`);
  }
  const form = type === "light_adapter" ? lightAdapter : adapter;
  const network = storedNetwork(checkpoint, (w) => form(w, config));
  requireRead(checkpoint.tensors.keys(), [network], "T2I-Adapter");
  return network;
}

/** @throws CheckpointError, UnsupportedError, ShapeError */
export function openT2iAdapter(folder: string): T2iAdapter {
  const config = parseConfig(t2iAdapterConfig, readJson(join(folder, "config.json")), "config.json");
  if (config.downscale_factor !== UNSHUFFLE[config.adapter_type]) {
    throw new UnsupportedError(
      `config.json: "downscale_factor": of a ${config.adapter_type} it must be ${UNSHUFFLE[config.adapter_type]}`,
    );
  }
  return { config, network: wholeNetwork(findCheckpoint(folder, "diffusion_pytorch_model"), config) };
}

/** One file, in TencentARC's keys or in diffusers'. @throws as openT2iAdapter */
export function openT2iAdapterFile(file: string): T2iAdapter {
  const { folder, tensors } = readWeightsFile(file);
  const own = tensors.has("conv_in.weight")
    ? renamed(tensors, count(tensors.keys(), "body") / FEATURES)
    : tensors.has("body.0.out_conv.weight")
      ? renamedLight(tensors)
      : tensors;
  if (tensors.has("style_embedding")) throw new UnsupportedError("a T2I-Adapter for style is not supported");
  if (!own.has("adapter.conv_in.weight") && !own.has("adapter.body.0.out_conv.weight")) {
    throw new CheckpointError(
      "not a T2I-Adapter: the file has neither conv_in.weight nor body.0.out_conv.weight, with or without adapter. before them",
    );
  }
  const config = deriveConfig(own);
  return { config, network: wholeNetwork({ folder, tensors: own }, config) };
}

/** Why a T2I-Adapter cannot be used with a model, with both shapes; null when it can. */
export function t2iAdapterMisfit({ unet }: BaseModel, { config }: T2iAdapter): string | null {
  const sdxl = unet.addition_embed_type !== null;
  if (sdxl !== (config.adapter_type === "full_adapter_xl")) {
    return `it is a ${config.adapter_type}, the model is ${sdxl ? "SDXL" : "an SD 1.x or 2.x"}`;
  }
  const own = featureInputs(unet).map(({ shape }) => shape[1]);
  const given = featureChannels(config);
  return show(given) === show(own as number[])
    ? null
    : `its features have ${show(given)} channels, the U-Net's blocks ${show(own as number[])}`;
}
