/**
 * What a LoRA file's tensors add to the weights, as a computation without inputs: low-rank factors as they are, whole differences
 * of what has no such factors. Sources: kohya-ss/sd-scripts networks/lora.py; LyCORIS lycoris/functional (loha.py, lokr.py, general.py).
 */
import type { Computation } from "../../onnx/build.ts";
import { matmul, mul, reshape, scale, transpose } from "../../onnx/operators.ts";
import { ShapeError, show, type Value } from "../../onnx/value.ts";
import { type Network, storedNetwork } from "../network.ts";
import { CheckpointError } from "../safetensors.ts";
import type { Weights } from "../weights.ts";
import type { LoraKind } from "./keys.ts";
import { keyOf, type Lora, type Matched } from "./lora.ts";

const sizes = (x: Value) => x.shape as number[];
const count = (shape: readonly number[]) => shape.reduce((product, size) => product * size, 1);

/** [a, b…] as the matrix [a, rest]. */
const matrix = (x: Value) => reshape(x, [sizes(x)[0]!, count(sizes(x).slice(1))]);

/** Σ t[i, j, k, l] a[i, p] b[j, r] → [p, r, k, l]: t [i, j, kh, kw], a [i, p], b [j, r] (LyCORIS' rebuild_tucker). */
function tucker(t: Value, a: Value, b: Value): Value {
  const [, j, kh, kw] = sizes(t) as [number, number, number, number];
  const [p, r] = [sizes(a)[1]!, sizes(b)[1]!];
  const left = reshape(matmul(transpose(a, [1, 0]), matrix(t)), [p, j, kh * kw]); // Σ over i
  return reshape(matmul(transpose(b, [1, 0]), left), [p, r, kh, kw]); // Σ over j
}

/** Kronecker's product of [a, b] with [c, d, …] → [a·c, b·d, …]. */
function kron(x: Value, y: Value): Value {
  const [a, b] = sizes(x) as [number, number];
  const [c, d, ...kernel] = sizes(y) as [number, number, ...number[]];
  const product = mul(reshape(x, [a, 1, b, 1, 1]), reshape(y, [1, c, 1, d, count(kernel)]));
  return reshape(product, [a * c, b * d, ...kernel]);
}

/** The tensors of one change. */
interface Parts {
  readonly has: (part: string) => boolean;
  readonly get: (part: string) => Value;
  /** alpha / rank as a factor on x; x itself where the file tells no alpha. */
  readonly scaled: (x: Value, rank: number) => Value;
}

/** A low-rank change of a convolution whose kernel lies between the factors (LoCon's lora_mid). */
const lowRank = ({ get, has, scaled }: Parts) => {
  const [down, up] = [get("down"), get("up")];
  const rank = sizes(down)[0]!;
  return has("mid")
    ? scaled(tucker(get("mid"), transpose(matrix(up), [1, 0]), matrix(down)), rank)
    : matmul(scaled(matrix(up), rank), matrix(down));
};

const lokrFactor = ({ get, has }: Parts, name: "lokr_w1" | "lokr_w2"): Value => {
  if (has(name)) return get(name);
  const [a, b] = [get(`${name}_a`), get(`${name}_b`)];
  if (name === "lokr_w2" && has("lokr_t2")) return tucker(get("lokr_t2"), a, b);
  const [, ...rest] = sizes(b);
  return reshape(matmul(a, matrix(b)), [sizes(a)[0]!, ...rest]);
};

/** W' − W of each kind. */
const whole = {
  low_rank: lowRank,
  loha(parts) {
    const { get, has, scaled } = parts;
    const [first, second] = (["1", "2"] as const).map((i) => {
      const [a, b] = [get(`hada_w${i}_a`), get(`hada_w${i}_b`)];
      return has(`hada_t${i}`) ? tucker(get(`hada_t${i}`), a, b) : matmul(a, matrix(b));
    });
    return scaled(mul(first!, second!), sizes(get("hada_w1_b"))[0]!);
  },
  lokr(parts) {
    const { get, has, scaled } = parts;
    const product = kron(lokrFactor(parts, "lokr_w1"), lokrFactor(parts, "lokr_w2"));
    const ranked = ["lokr_w1_b", "lokr_w2_b"].find(has);
    return ranked === undefined ? product : scaled(product, sizes(get(ranked))[0]!);
  },
  diff: ({ get }) => get("diff"),
  bias: null,
} satisfies Record<LoraKind, ((parts: Parts) => Value) | null>;

function partsOf(weights: Weights, { checkpoint, alphaOf }: Lora, { change }: Matched): Parts {
  const get = (part: string) => {
    const name = change.parts[part]!;
    return weights.get(name, checkpoint.tensors.get(name)!.shape);
  };
  return {
    has: (part) => part in change.parts,
    get,
    scaled(x, rank) {
      if ("alpha" in change.parts) {
        return mul(x, scale(reshape(get("alpha"), []), 1 / rank));
      }
      const alpha = alphaOf(change, rank);
      return alpha === null ? x : scale(x, alpha / rank);
    },
  };
}

/** Whether it is added as two factors: those of DoRA scale the sum with the weight itself. */
const isFactored = ({ change: { kind, parts } }: Matched) =>
  kind === "low_rank" && !("mid" in parts) && !("dora_scale" in parts) && !("magnitude" in parts);

/** How something is added to a layer: as two factors, as a difference of the whole weight, to the bias. */
export type AdditionKind = "low_rank" | "whole" | "shift";

/** What a change adds to its layer. */
export function additionsOf(one: Matched): AdditionKind[] {
  const { kind, parts } = one.change;
  const weight: AdditionKind[] = kind === "bias" ? [] : [isFactored(one) ? "low_rank" : "whole"];
  return "diff_b" in parts ? [...weight, "shift"] : weight;
}

/** A weight's shape, for linear layers that are 1×1 convolutions in the model and the reverse, and for kernels in one axis. */
function inShape(x: Value, { layer, change }: Matched): Value {
  const shape = sizes(layer.weight);
  if (sizes(x)[0] !== shape[0] || count(sizes(x)) !== count(shape)) {
    throw new ShapeError(`"${keyOf(change)}" changes a weight of ${show(x.shape)}, the model's is ${show(shape)}`);
  }
  return reshape(x, shape);
}

function outputsOf(weights: Weights, lora: Lora, matched: Matched): Record<string, Value> {
  const { change, layer } = matched;
  const parts = partsOf(weights, lora, matched);
  const of = (what: string) => `${change.component} ${layer.place} ${what}`;
  const outputs: Record<string, Value> = {};
  const [out, inner, ...kernel] = sizes(layer.weight) as [number, number, ...number[]];
  if (isFactored(matched)) {
    const [down, up] = [parts.get("down"), parts.get("up")];
    const rank = sizes(down)[0]!;
    outputs[of("down")] = reshape(down, [rank, inner, ...kernel]);
    outputs[of("up")] = parts.scaled(reshape(up, [out, rank, ...kernel.map(() => 1)]), rank);
  } else if (change.kind !== "bias") {
    outputs[of("whole")] = inShape(whole[change.kind](parts), matched);
  }
  if (parts.has("dora_scale")) outputs[of("dora_scale")] = parts.get("dora_scale");
  // PEFT's has a value an output, [out], and of a convolution [1, out, 1, 1]; LyCORIS' [1, in, 1, 1] has one an input.
  if (parts.has("magnitude")) outputs[of("dora_scale")] = reshape(parts.get("magnitude"), [out]);
  if (parts.has("diff_b")) {
    outputs[of("shift")] = reshape(
      parts.get("diff_b"),
      [out, ...kernel.map(() => 1)].slice(0, kernel.length > 0 ? 3 : 1),
    );
  }
  return outputs;
}

/**
 * A network without inputs, whose outputs are what a LoRA adds to a model at scale 1, by "component place what": `down` and `up`,
 * or the `whole` difference, with `dora_scale` where the weight's norm is to be exchanged too; and `shift`, of a bias.
 * @throws CheckpointError, ShapeError that name the key
 */
export function differences(lora: Lora, matched: readonly Matched[]): Network {
  try {
    return storedNetwork(
      lora.checkpoint,
      (weights): Computation => ({
        inputs: [],
        outputs: Object.assign({}, ...matched.map((one) => outputsOf(weights, lora, one))),
      }),
    );
  } catch (error) {
    throw error instanceof ShapeError ? new CheckpointError(error.message) : error;
  }
}

/** Bytes of the whole differences, which are as large as the weights that they change. */
export const wholeBytes = (matched: readonly Matched[]): number =>
  matched
    .filter((one) => !isFactored(one) && one.change.kind !== "bias")
    .reduce((sum, { layer }) => sum + 4 * count(sizes(layer.weight)), 0);
