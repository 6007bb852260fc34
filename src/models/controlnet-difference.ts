/**
 * ControlNets stored as differences from a base model, whose weights they borrow: Stability's Control-LoRA (ComfyUI,
 * comfy/controlnet.py ControlLora), and files that say "difference" (Mikubill/sd-webui-controlnet). Nothing is copied: the graph
 * points into both files, and adds.
 */
import { join, relative } from "node:path";
import { add, matmul, reshape } from "../onnx/operators.ts";
import { ShapeError, show, type Value } from "../onnx/value.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { commonFolder } from "./common-folder.ts";
import { type ControlnetConfig, controlnetConfig, parseConfig } from "./config.ts";
import { controlnet, hintEncoder } from "./controlnet.ts";
import { requireLevels } from "./levels.ts";
import { type Network, network, storedNetwork } from "./network.ts";
import type { BaseModel, ControlNet } from "./opened.ts";
import { count, originalNames, renamed } from "./original-names.ts";
import { CheckpointError } from "./safetensors.ts";
import { requireRead } from "./unread.ts";
import { StoredWeights, type WeightSource, type WeightStore } from "./weights.ts";

type Tensors = ReadonlyMap<string, WeightSource>;

const LOW_RANK = "lora_controlnet";
const WHOLE = "difference";
const HINT = "controlnet_cond_embedding";

/** A ControlNet's own tensors under diffusers' names, those of low rank as `<layer>.weight` of the whole shape. */
export interface Difference {
  readonly folder: string;
  /** low_rank: W = W_base + up · down, what is whole replaces the base's. whole: W = W_base + difference, where the base has one. */
  readonly kind: "low_rank" | "whole";
  readonly tensors: Tensors;
  readonly factors: ReadonlyMap<string, { readonly up: WeightSource; readonly down: WeightSource }>;
}

export const isDifference = (tensors: Tensors) => tensors.has(LOW_RANK) || tensors.has(WHOLE);

const flat = ([first = 0, ...rest]: readonly number[]) => [first, rest.reduce((product, dim) => product * dim, 1)];

/** The layers stored as `.up` [out, r, …] and `.down` [r, in, …], each as its weight [out, in, …]. @throws CheckpointError */
function joined(tensors: Tensors): Map<string, WeightSource> {
  const whole = new Map<string, WeightSource>();
  for (const [name, source] of tensors) {
    const [, layer, side] = /^(.*)\.(up|down)$/.exec(name) ?? [];
    if (layer === undefined) {
      whole.set(name, source);
      continue;
    }
    const [up, down] = [tensors.get(`${layer}.up`), tensors.get(`${layer}.down`)];
    if (up === undefined || down === undefined) {
      throw new CheckpointError(`the file has "${name}", but no "${layer}.${side === "up" ? "down" : "up"}"`);
    }
    const [rank, ranks] = [flat(up.shape)[1], down.shape[0]];
    if (rank !== ranks || rank === 0) {
      throw new CheckpointError(`"${layer}": up [${up.shape}] and down [${down.shape}] are not of one rank above 0`);
    }
    if (tensors.has(`${layer}.weight`)) {
      throw new CheckpointError(`"${name}" and "${layer}.weight" are both of the same layer`);
    }
    whole.set(`${layer}.weight`, { ...source, shape: [up.shape[0]!, ...down.shape.slice(1)] });
  }
  return whole;
}

/** @param tensors of the whole file @throws CheckpointError, UnsupportedError */
export function readDifference({ folder, tensors: all }: Checkpoint): Difference {
  const kind = all.has(LOW_RANK) ? "low_rank" : "whole";
  if (all.has(LOW_RANK) && all.has(WHOLE)) {
    throw new CheckpointError(`the file has both "${LOW_RANK}" and "${WHOLE}": it can be one of them alone`);
  }
  const prefix = all.has("control_model.input_hint_block.0.weight") ? "control_model." : "";
  const own = [...all].flatMap(([name, source]) =>
    name === LOW_RANK || name === WHOLE
      ? []
      : [[name.slice(name.startsWith(prefix) ? prefix.length : 0), source] as const],
  );
  const tensors = new Map(own);
  const whole = kind === "low_rank" ? joined(tensors) : tensors;
  if (whole.has(`${HINT}.conv_in.weight`)) return { folder, kind, tensors: whole, factors: factorsOf(tensors) };
  if (!whole.has("input_hint_block.0.weight")) throw new CheckpointError("the file has no input_hint_block.*");
  const unknown: string[] = [];
  const names = originalNames.controlnet(whole);
  const named = renamed(whole, names, unknown);
  requireRead(unknown, [], "ControlNet");
  return { folder, kind, tensors: named, factors: factorsOf(renamed(tensors, names, [])) };
}

function factorsOf(tensors: Tensors): Difference["factors"] {
  const layers = [...tensors].filter(([name]) => name.endsWith(".up"));
  return new Map(
    layers.map(([name, up]) => {
      const layer = name.slice(0, -".up".length);
      return [`${layer}.weight`, { up, down: tensors.get(`${layer}.down`)! }] as const;
    }),
  );
}

/** The tensors with their places told from another folder. */
const seenFrom = (folder: string, from: string, tensors: Iterable<readonly [string, WeightSource]>) =>
  new Map([...tensors].map(([name, one]) => [name, { ...one, location: relative(folder, join(from, one.location)) }]));

/** The weights of a ControlNet: the base model's and the file's own, as its kind has it. */
function mixed(folder: string, base: Checkpoint, { kind, factors, ...own }: Difference): WeightStore {
  const bases = new StoredWeights(seenFrom(folder, base.folder, base.tensors));
  const whole = [...own.tensors].filter(([name]) => !factors.has(name));
  const parts = [...factors].flatMap(([name, { up, down }]) => [
    [`${name}.up`, up] as const,
    [`${name}.down`, down] as const,
  ]);
  const stored = new StoredWeights(seenFrom(folder, own.folder, [...whole, ...parts]));
  const made = new Map<string, Value>();
  const make = (name: string, shape: readonly number[]): Value => {
    const factor = factors.get(name);
    if (factor !== undefined) {
      const { up, down } = factor;
      const own = [up.shape[0]!, ...down.shape.slice(1)];
      if (show(own) !== show(shape)) {
        throw new ShapeError(`"${name}" has the shape ${show(own)}, but the network's config needs ${show(shape)}`);
      }
      const part = (side: string, dims: readonly number[]) => reshape(stored.get(`${name}.${side}`, dims), flat(dims));
      return add(bases.get(name, shape), reshape(matmul(part("up", up.shape), part("down", down.shape)), shape));
    }
    if (!stored.has(name)) return bases.get(name, shape);
    const value = stored.get(name, shape);
    return kind === "whole" && bases.has(name) ? add(bases.get(name, shape), value) : value;
  };
  return {
    has: (name) => stored.has(name) || factors.has(name) || bases.has(name),
    get(name, shape) {
      const value = made.get(name) ?? make(name, shape);
      made.set(name, value);
      return value;
    },
  };
}

/** The config of a ControlNet beside this U-Net: its own, with the file's hint encoder. @throws UnsupportedError */
function configBeside({ unet }: BaseModel, { tensors }: Difference): ControlnetConfig {
  const steps = count(tensors.keys(), `${HINT}.blocks`) / 2;
  const channels = ["conv_in", ...Array.from({ length: steps }, (_, i) => `blocks.${2 * i + 1}`)];
  const shared = Object.entries(unet).filter(([key]) => key in controlnetConfig.shape);
  const settings = {
    ...Object.fromEntries(shared),
    conditioning_channels: tensors.get(`${HINT}.conv_in.weight`)?.shape[1],
    conditioning_embedding_out_channels: channels.map((name) => tensors.get(`${HINT}.${name}.weight`)?.shape[0]),
  };
  const config = parseConfig(controlnetConfig, settings, "ControlNet");
  requireLevels(config, "ControlNet");
  return config;
}

/** The ControlNet that a difference makes of a base model. @throws ShapeError, CheckpointError, UnsupportedError where it does not fit */
export function controlNetOn(base: BaseModel, difference: Difference): ControlNet {
  const config = configBeside(base, difference);
  const { weights } = base;
  const folder = commonFolder(weights.folder, difference.folder);
  const store = mixed(folder, weights, difference);
  const files = new Set(
    [...weights.tensors.values()]
      .map(({ location }) => join(weights.folder, location))
      .concat([...difference.tensors.values()].map(({ location }) => join(difference.folder, location))),
  );
  const named = [...files].map((file) => relative(folder, file));
  const shallow = new Map<number, Network>();
  const make = (residuals?: number) => network(store, folder, (w) => controlnet(w, config, residuals), named);
  const networks = {
    hint: storedNetwork({ folder: difference.folder, tensors: difference.tensors }, (w) => hintEncoder(w, config)),
    controlnet: make(),
    shallow(branch: number) {
      const one = shallow.get(branch) ?? make(branch + 1);
      shallow.set(branch, one);
      return one;
    },
  };
  requireRead(difference.tensors.keys(), [networks.hint, networks.controlnet], "ControlNet");
  return { config, networks, warnings: [] };
}
