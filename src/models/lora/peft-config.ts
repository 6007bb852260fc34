/** adapter_config.json, which peft saves beside adapter_model.safetensors: it has alpha, and what else was done to the network. */
import { existsSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { readJson } from "../checkpoint.ts";
import { UnsupportedError } from "../config.ts";
import { CheckpointError } from "../safetensors.ts";
import { type Component, type LayerChange, PEFT_PREFIX } from "./keys.ts";

/** What peft calls a LoRA's weights, and its config. */
export const PEFT_WEIGHTS = "adapter_model.safetensors";
export const PEFT_CONFIG = "adapter_config.json";

/** peft's LoraConfig: keys that say how it was trained, or what the tensors say themselves. */
const UNHEEDED: ReadonlySet<string> = new Set([
  ...["peft_version", "task_type", "base_model_name_or_path", "revision", "inference_mode", "runtime_config"],
  ...["target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "lora_dropout", "use_dora"],
  ...["megatron_core", "qalora_group_size", "eva_config", "corda_config", "lora_ga_config", "loftq_config"],
]);
/** Keys that are read here. */
const READ: ReadonlySet<string> = new Set([
  ...["peft_type", "auto_mapping", "bias", "init_lora_weights", "use_rslora"],
  ...["r", "rank_pattern", "lora_alpha", "alpha_pattern"],
]);
/** Ways to begin that leave the network's own weights as they are; the others are added to changed weights. */
const BEGINNINGS: readonly unknown[] = [undefined, null, true, false, "gaussian", "orthogonal", "eva"];
/** peft's default of r and of lora_alpha. */
const DEFAULT = 8;

const COMPONENTS: Readonly<Record<string, Component>> = {
  UNet2DConditionModel: "unet",
  CLIPTextModel: "text_encoder",
  CLIPTextModelWithProjection: "text_encoder_2",
};

type Json = Readonly<Record<string, unknown>>;

const isOff = (value: unknown) =>
  value === null || value === false || (typeof value === "object" && Object.keys(value).length === 0);

export interface PeftConfig {
  /** Which network it is of, where it says so. */
  readonly component: Component | null;
  /** alpha / rank of a change of `rank`. @throws CheckpointError when the config has another rank */
  readonly scaleOf: (change: LayerChange, rank: number) => number;
}

/** The network's layer, as peft names it: "mid_block.attentions.0.proj_in". */
const nameOf = ({ parts }: LayerChange) =>
  Object.values(parts)[0]!
    .replace(PEFT_PREFIX, "")
    .replace(/\.lora_.*$/, "");

/** A number by layers' names or their ends, as `rank_pattern` has them. @throws UnsupportedError for what is no plain name */
function patternOf(key: string, json: unknown): (name: string) => number | undefined {
  const entries = Object.entries((json ?? {}) as Record<string, unknown>).map(([pattern, value]) => {
    const [, start, name] = /^(\^?)((?:[\w-]|\\?\.)+)\$?$/.exec(pattern) ?? [];
    if (name === undefined) throw new UnsupportedError(`${PEFT_CONFIG}: ${key} ${JSON.stringify(pattern)} is no name`);
    if (typeof value !== "number") throw new CheckpointError(`${PEFT_CONFIG}: ${key} of ${pattern} is no number`);
    return { start, name: name.replaceAll("\\.", "."), value };
  });
  return (layer) =>
    entries.find(({ start, name }) => layer === name || (start === "" && layer.endsWith(`.${name}`)))?.value;
}

function requireCarriedOut(json: Json): void {
  const refusal = (key: string) =>
    new UnsupportedError(`${PEFT_CONFIG}: "${key}": ${JSON.stringify(json[key])} is not supported`);
  if (json.peft_type !== "LORA") throw refusal("peft_type");
  if ((json.bias ?? "none") !== "none") throw refusal("bias");
  if (!BEGINNINGS.includes(json.init_lora_weights)) throw refusal("init_lora_weights");
  const other = Object.keys(json).find((key) => !UNHEEDED.has(key) && !READ.has(key) && !isOff(json[key]));
  if (other !== undefined) throw refusal(other);
}

function componentOf({ auto_mapping: mapping }: Json): Component | null {
  const { base_model_class: name } = (mapping ?? {}) as Json;
  if (name === undefined) return null;
  const component = COMPONENTS[String(name)];
  if (component === undefined) throw new UnsupportedError(`${PEFT_CONFIG}: a LoRA of a ${name} is not supported`);
  return component;
}

/** @throws CheckpointError, UnsupportedError that name the key */
export function parsePeftConfig(json: Json): PeftConfig {
  requireCarriedOut(json);
  const { r = DEFAULT, lora_alpha: alpha = DEFAULT, use_rslora: root } = json;
  for (const [key, value] of Object.entries({ r, lora_alpha: alpha })) {
    if (!Number.isFinite(value)) throw new CheckpointError(`${PEFT_CONFIG}: ${key} is ${JSON.stringify(value)}`);
  }
  const ranks = patternOf("rank_pattern", json.rank_pattern);
  const alphas = patternOf("alpha_pattern", json.alpha_pattern);
  return {
    component: componentOf(json),
    scaleOf(change, rank) {
      const name = nameOf(change);
      const said = ranks(name) ?? (r as number);
      if (said !== rank) throw new CheckpointError(`${PEFT_CONFIG}: ${name} has rank ${said}, its tensors ${rank}`);
      return (alphas(name) ?? (alpha as number)) / (root === true ? Math.sqrt(rank) : rank);
    },
  };
}

/** The config beside a file of peft's name; null for other files. @throws as parsePeftConfig, and when it is not there */
export function findPeftConfig(file: string): PeftConfig | null {
  if (basename(file) !== PEFT_WEIGHTS) return null;
  const config = join(dirname(file), PEFT_CONFIG);
  if (!existsSync(config)) {
    throw new CheckpointError(`${PEFT_CONFIG}, in which peft keeps alpha, is missing beside ${PEFT_WEIGHTS}`);
  }
  return parsePeftConfig(readJson(config) as Json);
}
