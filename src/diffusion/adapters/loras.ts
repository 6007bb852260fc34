/** LoRA of a request: what their files add to the weights, summed, as further inputs of the networks. */

import { grafted } from "../../models/grafted.ts";
import { type AdditionKind, additionsOf, differences, wholeBytes } from "../../models/lora/differences.ts";
import type { Component } from "../../models/lora/keys.ts";
import type { Layer } from "../../models/lora/layers.ts";
import { keyOf, type Lora, type Matched, matchLora } from "../../models/lora/lora.ts";
import type { Network } from "../../models/network.ts";
import type { BaseModel } from "../../models/opened.ts";
import { CheckpointError } from "../../models/safetensors.ts";
import { build } from "../../onnx/build.ts";
import type { Graft } from "../../onnx/graft.ts";
import type { Tensor } from "../../onnx/tensor.ts";
import { allFinite } from "../finite.ts";
import type { Once, Runner } from "../load.ts";

/** What is added to one network: where, and the tensors of its further inputs. */
export interface Additions {
  readonly grafts: readonly Graft[];
  readonly feeds: Readonly<Record<string, Tensor>>;
}

export type AddedTo = Readonly<Record<Component, Additions>> & {
  /** Of LoRA that change nothing. */
  readonly warnings: readonly string[];
};

/** A LoRA of a request. */
export interface ChosenLora {
  readonly id: string;
  readonly lora: Lora;
  readonly scale: number;
}

type Floats = Tensor & { readonly data: Float32Array };

/** What is added to one layer, by all LoRA. */
interface Sum {
  readonly layer: Layer;
  readonly factors: { readonly down: Floats; readonly up: Floats }[];
  whole: Floats | null;
  shift: Floats | null;
}

/** Multiplies in place: factors of a whole U-Net take 100 MB and more. Plain loops, for callbacks take ten times as long. */
function scaled(floats: Floats, factor: number): Floats {
  const { data } = floats;
  if (factor !== 1) for (let i = 0; i < data.length; i++) data[i]! *= factor;
  return floats;
}

/** Adds in place. */
function plus(sum: Floats | null, more: Floats): Floats {
  if (sum === null) return more;
  for (let i = 0; i < sum.data.length; i++) sum.data[i]! += more.data[i]!;
  return sum;
}

/** The factors of several LoRA as those of one: ranks side by side. down [r, …] lie one after another, up [out, r] beside. */
function joinFactors(factors: Sum["factors"]): { down: Floats; up: Floats } {
  if (factors.length === 1) return factors[0]!;
  const ranks = factors.map(({ down }) => down.dims[0]!);
  const rank = ranks.reduce((a, b) => a + b, 0);
  const { down, up } = factors[0]!;
  const out = up.dims[0]!;
  const downs = new Float32Array((down.data.length / ranks[0]!) * rank);
  const ups = new Float32Array(out * rank);
  let left = 0;
  for (const [i, factor] of factors.entries()) {
    const own = ranks[i]!;
    downs.set(factor.down.data, (downs.length / rank) * left);
    for (let row = 0; row < out; row++) {
      ups.set(factor.up.data.subarray(row * own, (row + 1) * own), row * rank + left);
    }
    left += own;
  }
  return {
    down: { dims: [rank, ...down.dims.slice(1)], data: downs },
    up: { dims: [out, rank, ...up.dims.slice(2)], data: ups },
  };
}

/**
 * DoRA (arXiv 2402.09353): W' = V · scale / ‖V‖ with V = W + delta → W' − W. The norm is over all axes but the one that
 * `scale` has: [out, 1, …] or [1, in, …].
 */
export function dora(weight: Float32Array, delta: Floats, magnitude: Floats): Floats {
  const [out, inner] = delta.dims as [number, number];
  const kernel = delta.data.length / (out * inner);
  const perInput = magnitude.dims.length > 1 && magnitude.dims[0] === 1 && out !== 1;
  if (magnitude.data.length !== (perInput ? inner : out)) {
    throw new CheckpointError(`dora_scale has the shape [${magnitude.dims}], the weight [${delta.dims}]`);
  }
  const axis = (i: number) => (perInput ? Math.floor(i / kernel) % inner : Math.floor(i / (inner * kernel)));
  const norms = new Float64Array(magnitude.data.length);
  const changed = delta.data.map((value, i) => value + weight[i]!);
  for (const [i, value] of changed.entries()) norms[axis(i)]! += value * value;
  // What is all zeros has no direction, and stays so.
  const factors = norms.map((square, i) => (square === 0 ? 0 : magnitude.data[i]! / Math.sqrt(square)));
  return { dims: delta.dims, data: changed.map((value, i) => value * factors[axis(i)]! - weight[i]!) };
}

/** Weights of a model as they are in its file: one run for those that lie in one folder. */
async function weightsOf(model: BaseModel, layers: readonly Layer[], once: Once): Promise<Map<Layer, Float32Array>> {
  const read = new Map<Layer, Float32Array>();
  for (const [component, network] of Object.entries(networksOf(model))) {
    const own = layers.filter((layer) => layer.component === component);
    if (network === null || own.length === 0) continue;
    const outputs = Object.fromEntries(own.map(({ weight }, i) => [`${i}`, weight]));
    const computation = { inputs: [], outputs };
    const reader = { ...network, computation: () => computation, graph: () => graphOf(computation, network.folder) };
    const values = await once(reader);
    for (const [i, layer] of own.entries()) read.set(layer, values[`${i}`]!.data as Float32Array);
  }
  return read;
}

const graphOf = ({ outputs }: { outputs: Parameters<typeof build>[1] }, folder: string) => ({
  bytes: build([], outputs),
  folder,
});

const networksOf = ({ networks, text }: BaseModel): Record<Component, Network | null> => ({
  unet: networks.unet,
  text_encoder: text[0]!.network,
  text_encoder_2: text[1]?.network ?? null,
});

/** Whether a value is not 0. */
const isSome = (tensor: Floats | undefined) => tensor?.data.some((value) => value !== 0) === true;

/** Layers of a LoRA that are computed at a time: what that takes besides their values is used again for the next ones. */
const PART = 16;

/** Adds what one LoRA does to what the others do → whether it does anything. */
async function addLora(
  sums: Map<Layer, Sum>,
  model: BaseModel,
  chosen: ChosenLora,
  matched: readonly Matched[],
  once: Once,
): Promise<boolean> {
  let changes = false;
  for (let i = 0; i < matched.length; i += PART) {
    if (await addLayers(sums, model, chosen, matched.slice(i, i + PART), once)) changes = true;
  }
  return changes;
}

async function addLayers(
  sums: Map<Layer, Sum>,
  model: BaseModel,
  { id, lora, scale }: ChosenLora,
  matched: readonly Matched[],
  once: Once,
): Promise<boolean> {
  const outputs = await once(differences(lora, matched));
  const normed = matched
    .filter(({ change: { parts } }) => "dora_scale" in parts || "magnitude" in parts)
    .map(({ layer }) => layer);
  const weights = await weightsOf(model, normed, once);
  let changes = false;
  for (const { change, layer } of matched) {
    const get = (what: string) => {
      const tensor = outputs[`${change.component} ${layer.place} ${what}`] as Floats | undefined;
      if (tensor !== undefined && !allFinite(tensor)) {
        throw new CheckpointError(
          `the LoRA "${id}" has a value that is no number in what it changes by "${keyOf(change)}"`,
        );
      }
      return tensor;
    };
    const sum = sums.get(layer) ?? { layer, factors: [], whole: null, shift: null };
    sums.set(layer, sum);
    const [down, up, whole, magnitude, shift] = ["down", "up", "whole", "dora_scale", "shift"].map(get);
    changes ||= (isSome(down) && isSome(up)) || isSome(shift);
    if (down !== undefined) sum.factors.push({ down, up: scaled(up!, scale) });
    if (whole !== undefined) {
      const difference = magnitude === undefined ? whole : dora(weights.get(layer)!, whole, magnitude);
      changes ||= isSome(difference);
      sum.whole = plus(sum.whole, scaled(difference, scale));
    }
    if (shift !== undefined) sum.shift = plus(sum.shift, scaled(shift, scale));
  }
  return changes;
}

/** Where a network is added to: the same for all LoRA that add the same kinds to the same layers. */
function graftsOf(added: readonly (readonly [layer: Layer, kinds: readonly AdditionKind[]])[]): Graft[] {
  const grafts = added.flatMap(([{ place: at, weight }, kinds]) => {
    const [out, inner] = weight.shape as [number, number];
    return kinds.map((kind): Graft => ({ kind, at, channels: kind === "shift" ? out : inner }));
  });
  return grafts.sort((a, b) => (`${a.at}:${a.kind}` < `${b.at}:${b.kind}` ? -1 : 1));
}

function additionsTo(component: Component, sums: Iterable<Sum>): Additions {
  const added: [Layer, AdditionKind[]][] = [];
  const feeds: Record<string, Tensor> = {};
  for (const { layer, factors, whole, shift } of sums) {
    if (layer.component !== component) continue;
    const at = layer.place;
    const kinds: AdditionKind[] = [];
    added.push([layer, kinds]);
    if (factors.length > 0) {
      const { down, up } = joinFactors(factors);
      kinds.push("low_rank");
      Object.assign(feeds, { [`${at}:down`]: down, [`${at}:up`]: up });
    }
    if (whole !== null) {
      kinds.push("whole");
      feeds[`${at}:whole`] = whole;
    }
    if (shift !== null) {
      kinds.push("shift");
      feeds[`${at}:shift`] = shift;
    }
  }
  return { grafts: graftsOf(added), feeds };
}

/**
 * The networks that run with a LoRA, whatever its values and its scale.
 * @throws CheckpointError where it does not fit the model
 */
export function formsWith(model: BaseModel, lora: Lora): Network[] {
  const matched = matchLora(model, lora);
  return Object.entries(networksOf(model)).flatMap(([component, network]) => {
    const own = matched.filter(({ layer }) => layer.component === component);
    const grafts = graftsOf(own.map((one) => [one.layer, additionsOf(one)]));
    return network === null || grafts.length === 0 ? [] : [grafted(network, grafts)];
  });
}

/**
 * What LoRA add to a model's networks. One of scale 0 adds nothing, so that the picture is the one without it.
 * @param budget bytes that whole differences may take
 * @throws CheckpointError that names the LoRA and the key
 */
export async function addLoras(
  model: BaseModel,
  loras: readonly ChosenLora[],
  once: Once,
  budget: number,
): Promise<AddedTo> {
  const sums = new Map<Layer, Sum>();
  const warnings: string[] = [];
  for (const chosen of loras.filter(({ scale }) => scale !== 0)) {
    const matched = matchLora(model, chosen.lora);
    const bytes = wholeBytes(matched);
    if (bytes > budget) {
      throw new CheckpointError(
        `the LoRA "${chosen.id}" changes whole weights of ${bytes} bytes: at most ${budget} are allowed (MEMORY_BUDGET)`,
      );
    }
    if (!(await addLora(sums, model, chosen, matched, once))) {
      warnings.push(
        `the LoRA "${chosen.id}" changes nothing: all that it adds is 0 (an alpha of 0, or it was not trained)`,
      );
    }
  }
  const to = (component: Component) => additionsTo(component, sums.values());
  return { unet: to("unet"), text_encoder: to("text_encoder"), text_encoder_2: to("text_encoder_2"), warnings };
}

/** A network's run with what is added to it. */
export function runWith(network: Network, { grafts, feeds }: Additions, runner: Runner): ReturnType<Runner> {
  const run = runner(grafted(network, grafts));
  return (own) => run({ ...own, ...feeds });
}
