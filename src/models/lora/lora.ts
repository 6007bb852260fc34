/** A LoRA file, opened (its header only), and what it is to a base model. */

import { show } from "../../onnx/value.ts";
import { type Checkpoint, type CheckpointFile, readCheckpoint } from "../checkpoint.ts";
import type { BaseModel } from "../opened.ts";
import { CheckpointError } from "../safetensors.ts";
import { type Component, type LayerChange, layerChanges, PEFT_PREFIX } from "./keys.ts";
import { type Layer, layersOfBase } from "./layers.ts";
import { findPeftConfig, PEFT_CONFIG, PEFT_WEIGHTS, type PeftConfig } from "./peft-config.ts";

/** What diffusers calls a LoRA's weights in a folder. */
export const LORA_WEIGHTS = "pytorch_lora_weights.safetensors";

export interface Lora {
  readonly checkpoint: Checkpoint;
  readonly changes: readonly LayerChange[];
  /** alpha of a layer that the header tells, by component and layer; null = the rank. */
  readonly alphaOf: (change: LayerChange, rank: number) => number | null;
  /** Which family's layers it changes, as far as that can be seen. */
  readonly family: LoraFamily | null;
}

export type LoraFamily = "SD 1.x" | "SD 2.x" | "SDXL";

const WIDTHS: Readonly<Record<number, LoraFamily>> = { 768: "SD 1.x", 1024: "SD 2.x", 2048: "SDXL" };

/** By what only a family has: SDXL a second tower and deep transformers, SD 2.x linear projections; by the width of the text, where it is a published one. */
function familyOf({ tensors }: Checkpoint, changes: readonly LayerChange[]): LoraFamily | null {
  const unet = changes.filter(({ component }) => component === "unet");
  if (
    unet.length < changes.length &&
    changes.some(({ component, layer }) => component === "text_encoder_2" || /layers_(1[2-9]|2\d|3[01])_/.test(layer))
  ) {
    return changes.some(({ component }) => component === "text_encoder_2") ? "SDXL" : "SD 2.x";
  }
  if (unet.some(({ layer }) => /transformer_blocks_[1-9]|^add_embedding|^label_emb/.test(layer))) {
    return "SDXL";
  }
  const inputs = (change: LayerChange | undefined) => tensors.get(change?.parts.down ?? "")?.shape ?? [];
  const text = inputs(unet.find(({ layer }) => /attn2_to_[kv]$/.test(layer)))[1];
  if (text !== undefined && text in WIDTHS) {
    return WIDTHS[text]!;
  }
  const axes = inputs(unet.find(({ layer }) => /proj_in$/.test(layer))).length;
  return axes === 4 ? "SD 1.x" : axes === 2 ? "SD 2.x" : null;
}

/** peft's LoraConfig, which diffusers writes into the header under each component's name. */
function headerAlpha(metadata: Readonly<Record<string, string>>): Lora["alphaOf"] {
  const text = metadata.lora_adapter_metadata;
  let config: Record<string, unknown>;
  try {
    config = text === undefined ? {} : JSON.parse(text);
  } catch (cause) {
    throw new CheckpointError("lora_adapter_metadata in the header is not JSON", { cause });
  }
  if (typeof config !== "object" || config === null) {
    throw new CheckpointError("lora_adapter_metadata in the header is not a JSON object");
  }
  const ofPattern = (patterns: unknown, layer: string) =>
    Object.entries((patterns ?? {}) as Record<string, number>).find(([name]) =>
      layer.endsWith(name.replace(/^\^|\$$/g, "").replaceAll(/\\?\./g, "_")),
    )?.[1];
  return ({ component, layer }, rank) => {
    const of = (key: string) => config[`${component}.${key}`];
    const alpha = ofPattern(of("alpha_pattern"), layer) ?? (of("lora_alpha") as number | undefined);
    if (alpha === undefined) return null;
    if (typeof alpha !== "number" || !Number.isFinite(alpha)) {
      throw new CheckpointError(`lora_adapter_metadata: alpha is ${JSON.stringify(alpha)}, not a number`);
    }
    return of("use_rslora") === true ? alpha * Math.sqrt(rank) : alpha; // alpha / √rank in place of alpha / rank
  };
}

/** @throws CheckpointError for an alpha that is not one number */
function requireOneAlpha({ tensors }: Checkpoint, changes: readonly LayerChange[]): void {
  for (const { parts } of changes) {
    const shape = tensors.get(parts.alpha ?? "")?.shape ?? [];
    if (shape.some((dim) => dim !== 1)) {
      throw new CheckpointError(`"${parts.alpha}" has the shape [${shape}]: one number is needed`);
    }
  }
}

/** peft's own keys, under a name that says of no config beside them. @throws CheckpointError: without it alpha is unknown */
function requireAlpha({ tensors, metadata }: CheckpointFile, changes: readonly LayerChange[]): void {
  const ofPeft = [...tensors.keys()].some((key) => key.startsWith(PEFT_PREFIX));
  const told = metadata.lora_adapter_metadata !== undefined || changes.some(({ parts }) => "alpha" in parts);
  if (ofPeft && !told) {
    throw new CheckpointError(
      `peft keeps alpha in ${PEFT_CONFIG}: put both into a folder, as ${PEFT_WEIGHTS} and ${PEFT_CONFIG}`,
    );
  }
}

/** The changes of the network that peft's config names, whose keys do not tell one from another. */
const inComponent = (changes: readonly LayerChange[], { component }: PeftConfig) =>
  component === null ? changes : changes.map((change) => ({ ...change, component }));

/** A file of factors, with the config that peft puts beside it. @throws CheckpointError, UnsupportedError */
export function openLora(file: string): Lora {
  const checkpoint = readCheckpoint(file);
  const peft = findPeftConfig(file);
  const keyed = layerChanges(checkpoint.tensors);
  requireOneAlpha(checkpoint, keyed);
  if (peft === null) {
    requireAlpha(checkpoint, keyed);
    return {
      checkpoint,
      changes: keyed,
      alphaOf: headerAlpha(checkpoint.metadata),
      family: familyOf(checkpoint, keyed),
    };
  }
  const changes = inComponent(keyed, peft);
  const { scaleOf } = peft;
  for (const change of changes) scaleOf(change, checkpoint.tensors.get(change.parts.down ?? "")?.shape[0] ?? 0);
  return {
    checkpoint,
    changes,
    alphaOf: (change, rank) => scaleOf(change, rank) * rank,
    family: familyOf(checkpoint, changes),
  };
}

const ofBase = (model: BaseModel): LoraFamily =>
  model.text.length === 2 ? "SDXL" : model.unet.use_linear_projection ? "SD 2.x" : "SD 1.x";

/** A change with the layer that it changes. */
export interface Matched {
  readonly change: LayerChange;
  readonly layer: Layer;
}

const findLayer = (model: BaseModel, { component, layer }: { component: Component; layer: string }) =>
  layersOfBase(model).get(`${component} ${layer}`);

/** The name of a change in its file: of its first tensor but alpha. */
export function keyOf({ parts }: LayerChange): string {
  const names = Object.entries(parts);
  return (names.find(([part]) => part !== "alpha") ?? names[0]!)[1];
}

/** The shape of W that a change has: of the parts that tell it, null where none does. */
export function changedShape({ kind, parts }: LayerChange, { tensors }: Checkpoint): readonly number[] | null {
  const shape = (part: string) => tensors.get(parts[part] ?? "")?.shape;
  const rest = (of: readonly number[]) => of.slice(1);
  if (kind === "low_rank") {
    const kernel = shape("mid")?.slice(2);
    const [down, up] = [shape("down")!, shape("up")!];
    return [up[0]!, down[1] ?? 0, ...(kernel ?? down.slice(2))];
  }
  if (kind === "diff") return shape("diff")!;
  if (kind === "loha") {
    const core = shape("hada_t1");
    const [a, b] = [shape("hada_w1_a")!, shape("hada_w1_b")!];
    return core === undefined ? null : [a[1] ?? 0, ...rest(b), ...core.slice(2)];
  }
  return null;
}

/** Elements of a weight but for axes of one. */
const same = (a: readonly number[], b: readonly number[]) =>
  show(a.filter((size, i) => i < 2 || size !== 1)) === show(b.filter((size, i) => i < 2 || size !== 1));

/** Why a LoRA cannot change a model, naming the key or both shapes; null when it can. */
export function loraMisfit(model: BaseModel, { changes, checkpoint, family }: Lora): string | null {
  const own = ofBase(model);
  const other = family !== null && family !== own ? `it is a LoRA for ${family}, the model is ${own}` : null;
  const lost = changes.find((change) => findLayer(model, change) === undefined);
  if (lost !== undefined) {
    return other ?? `"${keyOf(lost)}" matches no layer of the model`;
  }
  for (const change of changes) {
    const shape = changedShape(change, checkpoint);
    const weight = findLayer(model, change)!.weight.shape as number[];
    if (shape !== null && !same(shape, weight)) {
      return other ?? `"${keyOf(change)}" changes a weight of ${show(shape)}, the model's is ${show(weight)}`;
    }
  }
  return null;
}

/** @throws CheckpointError with the reason of loraMisfit, or when two names of the file are of one layer */
export function matchLora(model: BaseModel, lora: Lora): Matched[] {
  const reason = loraMisfit(model, lora);
  if (reason !== null) throw new CheckpointError(reason);
  const matched = new Map<Layer, LayerChange>();
  for (const change of lora.changes) {
    const layer = findLayer(model, change)!;
    const other = matched.get(layer);
    if (other !== undefined) {
      const [one, two] = [other, change].map(keyOf);
      throw new CheckpointError(`"${one}" and "${two}" are names of the same layer`);
    }
    matched.set(layer, change);
  }
  return [...matched].map(([layer, change]) => ({ layer, change }));
}
