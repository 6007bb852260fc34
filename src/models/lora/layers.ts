/** The layers of a network that a LoRA can change, by every name that files give them. */
import { madeOf } from "../../onnx/order.ts";
import { labelOf, type Node, type Value } from "../../onnx/value.ts";
import { PLAIN } from "../graph.ts";
import type { Network } from "../network.ts";
import type { BaseModel } from "../opened.ts";
import { originalUnet } from "../original-names.ts";
import type { Component } from "./keys.ts";

export interface Layer {
  readonly component: Component;
  /** The name by which its graph has it. */
  readonly place: string;
  /** [out, in] of a linear layer, [out, in, kh, kw] of a convolution. */
  readonly weight: Value;
}

/** Values that have a name, of all that a network computes. */
function labelled(outputs: readonly Value[]): Map<string, Value> {
  const found = new Map<string, Value>();
  const seen = new Set<Value>();
  const stack = [...outputs];
  while (stack.length > 0) {
    const value = stack.pop()!;
    if (seen.has(value) || value.source.kind !== "node") continue;
    seen.add(value);
    const label = labelOf(value);
    if (label !== undefined) found.set(label, value);
    stack.push(...madeOf(value));
  }
  return found;
}

/** A layer's weight as the checkpoint has it, of the node that applies it; null for what is no layer. */
function weightOf({ op, inputs }: Node): Value | null {
  const weight = inputs[1]!;
  if (op === "Conv") return weight;
  return op === "MatMul" && weight.source.kind === "node" ? weight.source.inputs[0]! : null; // transposed
}

const layersOfNetwork = new WeakMap<Network, ReadonlyMap<string, Omit<Layer, "component">>>();

/** By their paths, such as "mid_block.resnets.0.conv1". */
export function namedLayers(network: Network): ReadonlyMap<string, Omit<Layer, "component">> {
  const known = layersOfNetwork.get(network);
  if (known !== undefined) return known;
  const layers = new Map<string, Omit<Layer, "component">>();
  const { outputs } = network.computation(PLAIN);
  for (const [place, value] of labelled(Object.values(outputs))) {
    const weight = value.source.kind === "node" ? weightOf(value.source) : null;
    if (weight !== null) layers.set(place === "out" ? "conv_out" : place, { place, weight });
  }
  layersOfNetwork.set(network, layers);
  return layers;
}

const flat = (path: string) => path.replaceAll(".", "_");

/** The names of a U-Net's layer in the original layout, where it is one of the published ones' shape. */
function originals({ unet }: BaseModel, path: string): string[] {
  const { layers_per_block: layers, block_out_channels: levels } = unet;
  return originalUnet(typeof layers === "number" ? levels.map(() => layers) : layers).flatMap(
    ([original, diffusers]) =>
      typeof diffusers === "string" && (path === diffusers || path.startsWith(`${diffusers}.`))
        ? [original + path.slice(diffusers.length)]
        : [],
  );
}

const layersOfModel = new WeakMap<BaseModel, ReadonlyMap<string, Layer>>();

/** Every layer of a model by "component layer", the layer as LayerChange spells it. */
export function layersOfBase(model: BaseModel): ReadonlyMap<string, Layer> {
  const known = layersOfModel.get(model);
  if (known !== undefined) return known;
  const layers = new Map<string, Layer>();
  for (const [path, layer] of namedLayers(model.networks.unet)) {
    const own: Layer = { component: "unet", ...layer };
    for (const name of [path, ...originals(model, path)]) layers.set(`unet ${flat(name)}`, own);
  }
  for (const [i, tower] of model.text.entries()) {
    const component: Component = i === 0 ? "text_encoder" : "text_encoder_2";
    for (const [path, layer] of namedLayers(tower.network)) {
      layers.set(`${component} ${flat(path.replace(/^text_model\./, ""))}`, { component, ...layer });
    }
  }
  layersOfModel.set(model, layers);
  return layers;
}
