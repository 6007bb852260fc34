/**
 * The keys of LoRA files, whoever wrote them: PEFT, diffusers old and new, kohya-ss/sd-scripts, LyCORIS. A key is a layer's name in
 * one of several spellings, and what of the layer's change the tensor is.
 */
import { UnsupportedError } from "../config.ts";
import { CheckpointError } from "../safetensors.ts";
import { type WeightSource, weightDType } from "../weights.ts";
import { refuseForeignLora } from "./foreign.ts";

/** What a tensor is of the change of a layer; the names of LyCORIS but for down and up. */
const PARTS: readonly (readonly [RegExp, string])[] = [
  [/\.lora_A(\.default)?\.weight$/, "down"],
  [/\.lora_B(\.default)?\.weight$/, "up"],
  [/[._]lora\.down\.weight$|\.lora_down\.weight$|\.lora_linear_layer\.down\.weight$/, "down"],
  [/[._]lora\.up\.weight$|\.lora_up\.weight$|\.lora_linear_layer\.up\.weight$/, "up"],
  [/\.lora_mid\.weight$/, "mid"],
  [/([._]lora)?\.alpha$/, "alpha"],
  [/\.dora_scale$/, "dora_scale"],
  [/\.lora_magnitude_vector(\.default)?(\.weight)?$/, "magnitude"],
  [/\.hada_w1_a$/, "hada_w1_a"],
  [/\.hada_w1_b$/, "hada_w1_b"],
  [/\.hada_w2_a$/, "hada_w2_a"],
  [/\.hada_w2_b$/, "hada_w2_b"],
  [/\.hada_t1$/, "hada_t1"],
  [/\.hada_t2$/, "hada_t2"],
  [/\.lokr_w1$/, "lokr_w1"],
  [/\.lokr_w1_a$/, "lokr_w1_a"],
  [/\.lokr_w1_b$/, "lokr_w1_b"],
  [/\.lokr_w2$/, "lokr_w2"],
  [/\.lokr_w2_a$/, "lokr_w2_a"],
  [/\.lokr_w2_b$/, "lokr_w2_b"],
  [/\.lokr_t2$/, "lokr_t2"],
  [/\.diff$/, "diff"],
  [/\.diff_b$/, "diff_b"],
];

/** Which parts make a change: all of `needs`, and any of `takes`. */
interface Kind {
  readonly needs: readonly string[];
  readonly takes: readonly string[];
}

const SCALED = ["alpha", "dora_scale", "magnitude", "diff_b"];
export const LORA_KINDS = {
  low_rank: { needs: ["down", "up"], takes: ["mid", ...SCALED] },
  loha: { needs: ["hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"], takes: ["hada_t1", "hada_t2", ...SCALED] },
  lokr: {
    needs: [],
    takes: ["lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2", ...SCALED],
  },
  diff: { needs: ["diff"], takes: ["diff_b", "alpha"] },
  bias: { needs: ["diff_b"], takes: ["alpha"] },
} satisfies Record<string, Kind>;
export type LoraKind = keyof typeof LORA_KINDS;

export type Component = "unet" | "text_encoder" | "text_encoder_2";

/** How a layer's name begins, of what it is, and whether its dots are underscores. */
const PREFIXES: readonly (readonly [prefix: string, component: Component, flat: boolean])[] = [
  ["lora_unet_", "unet", true],
  ["lora_te1_", "text_encoder", true],
  ["lora_te2_", "text_encoder_2", true],
  ["lora_te_", "text_encoder", true],
  ["lycoris_", "unet", true],
  ["unet.", "unet", false],
  ["text_encoder_2.", "text_encoder_2", false],
  ["text_encoder.", "text_encoder", false],
  ["model.diffusion_model.", "unet", false],
  ["diffusion_model.", "unet", false],
  ["text_model.", "text_encoder", false],
  ["", "unet", false],
];

/** PEFT's own, before all else. */
export const PEFT_PREFIX = "base_model.model.";

/** The change of one layer, as a file has it. */
export interface LayerChange {
  readonly component: Component;
  /** The layer's name in the file's spelling, dots as underscores. */
  readonly layer: string;
  readonly kind: LoraKind;
  /** The names of its tensors in the file. */
  readonly parts: Readonly<Record<string, string>>;
}

/** Old names of attention's layers (diffusers' attention processors). */
const OLD_NAMES: readonly (readonly [RegExp, string])[] = [
  [/\.processor\./, "."],
  [/(self_attn\.)to_([qkv])$/, "$1$2_proj"],
  [/self_attn\.to_out$/, "self_attn.out_proj"],
  [/\.to_out$/, ".to_out.0"],
];

/** @throws UnsupportedError that names the key */
function partOf(key: string): { name: string; part: string } {
  const found = PARTS.find(([pattern]) => pattern.test(key));
  if (found === undefined) throw new UnsupportedError(`"${key}" is nothing that is known of a LoRA`);
  return { name: key.replace(found[0], "").replace(PEFT_PREFIX, ""), part: found[1] };
}

function layerOf(name: string): Pick<LayerChange, "component" | "layer"> {
  const [prefix, component, flat] = PREFIXES.find(([start]) => name.startsWith(start))!;
  const own = name.slice(prefix.length);
  const today = flat ? own : OLD_NAMES.reduce((text, [pattern, to]) => text.replace(pattern, to), own);
  return { component, layer: today.replaceAll(".", "_").replace(/^text_model_/, "") };
}

function kindOf(parts: Readonly<Record<string, string>>): LoraKind {
  const names = Object.keys(parts);
  const one = Object.values(parts)[0]!;
  const kind = (Object.keys(LORA_KINDS) as LoraKind[]).find((name) => {
    const { needs, takes }: Kind = LORA_KINDS[name];
    return needs.every((part) => part in parts) && names.every((part) => needs.includes(part) || takes.includes(part));
  });
  if (kind === undefined || (kind === "lokr" && !isWholeLokr(parts))) {
    throw new CheckpointError(
      `"${one}" and what else the file has of this layer (${names.join(", ")}) make no change of it`,
    );
  }
  if ("dora_scale" in parts && "magnitude" in parts) {
    throw new CheckpointError(`"${parts.dora_scale}" and "${parts.magnitude}" are the same of the same layer`);
  }
  return kind;
}

function isWholeLokr(parts: Readonly<Record<string, string>>): boolean {
  const has = (factor: string) => factor in parts || (`${factor}_a` in parts && `${factor}_b` in parts);
  return has("lokr_w1") && has("lokr_w2") && (!("lokr_t2" in parts) || "lokr_w2_a" in parts);
}

/**
 * The changes of a file, a layer each.
 * @throws CheckpointError, UnsupportedError that name the key
 */
export function layerChanges(tensors: ReadonlyMap<string, WeightSource>): LayerChange[] {
  refuseForeignLora(tensors.keys());
  const layers = new Map<string, { at: Pick<LayerChange, "component" | "layer">; parts: Record<string, string> }>();
  for (const [key, source] of tensors) {
    const { name, part } = partOf(key);
    const { shape } = source;
    weightDType(key, source);
    if (shape.includes(0)) {
      throw new CheckpointError(`"${key}" has the shape [${shape}]: nothing of rank 0 is a change`);
    }
    const at = layerOf(name);
    const id = `${at.component} ${at.layer}`;
    const known = layers.get(id) ?? { at, parts: {} };
    if (part in known.parts) {
      throw new CheckpointError(`"${known.parts[part]}" and "${key}" are the same of the same layer`);
    }
    known.parts[part] = key;
    layers.set(id, known);
  }
  if (layers.size === 0) {
    throw new CheckpointError("the file has no tensors");
  }
  return [...layers.values()].map(({ at, parts }) => {
    const kind = kindOf(parts);
    if (kind === "low_rank") requireOneRank(parts, tensors);
    return { ...at, kind, parts };
  });
}

/** @throws CheckpointError naming both shapes */
function requireOneRank(parts: Readonly<Record<string, string>>, tensors: ReadonlyMap<string, WeightSource>): void {
  const shape = (part: string) => tensors.get(parts[part]!)!.shape;
  const [down, up] = [shape("down"), shape("up")];
  if (down.length < 2 || up.length < 2 || down[0] !== up[1]) {
    throw new CheckpointError(
      `"${parts.down}" has the shape [${down}], "${parts.up}" [${up}]: [rank, in, …] and [out, rank, …] of one rank are needed`,
    );
  }
}
