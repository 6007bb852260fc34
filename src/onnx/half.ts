/**
 * A computation in half precision, for accelerators: products, convolutions and attentions in float16, and whatever only passes on
 * or joins what they give. The rest stays in float32, as the sines of the time embedding, the softmax of plain attention, means;
 * so do inputs and outputs. Weights that are stored in float16 are handed over as they are.
 */
import type { Computation } from "./build.ts";
import { cast } from "./operators.ts";
import { inputsFirst } from "./order.ts";
import { label, labelOf, type Node, nodes, type Value } from "./value.ts";

const HALF = new Set(["Conv", "MatMul", "MultiHeadAttention"]);

/** In float16 where one of what they read is. A LayerNormalization sums in float32 either way (ONNX's `stash_type`). */
const FOLLOWING = new Set([
  "Add",
  "Concat",
  "Expand",
  "Gather",
  "Gelu",
  "LayerNormalization",
  "Mul",
  "QuickGelu",
  "Reshape",
  "Resize",
  "Slice",
  "Split",
  "Transpose",
]);

/** What reads either. */
const ANY = new Set(["Cast", "Shape"]);

/** What moves numbers about as well after rounding as before: a weight is rounded first. */
const MOVING = new Set(["Expand", "Reshape", "Transpose"]);

class Halving {
  readonly #made = new Map<Value, Value>();
  readonly #halves = new Map<Value, Value>();
  readonly #singles = new Map<Value, Value>();

  /** In float32; what is no float stays what it is. */
  single(value: Value): Value {
    const made = this.#made.get(value)!;
    if (made.dtype !== "float16") return made;
    const single = this.#singles.get(made) ?? cast(made, "float32");
    this.#singles.set(made, single);
    return single;
  }

  #half(made: Value): Value {
    if (made.dtype !== "float32") return made;
    const half = this.#halves.get(made) ?? this.#rounded(made);
    this.#halves.set(made, half);
    return half;
  }

  #rounded(made: Value): Value {
    const { source } = made;
    if (source.kind !== "node") return cast(made, "float16");
    const [from, ...others] = source.inputs as [Value, ...(Value | null)[]];
    if (source.op === "Cast" && from.dtype === "float16") return from;
    if (MOVING.has(source.op)) return remade(source, [this.#half(from), ...others], "float16")[0]!;
    return cast(made, "float16");
  }

  /** Makes what stands for each value. */
  write(outputs: readonly Value[]): void {
    for (const value of inputsFirst(outputs, (one) => this.#made.has(one))) {
      if (value.source.kind === "node") this.#remake(value.source);
      else this.#made.set(value, value);
    }
  }

  #remake(source: Node): void {
    const read = source.inputs.filter((from) => from !== null).map((from) => this.#made.get(from)!);
    const isHalf = HALF.has(source.op) || (FOLLOWING.has(source.op) && read.some(({ dtype }) => dtype === "float16"));
    const inputs = source.inputs.map((from, i) => {
      if (from === null) return null;
      // A shape is the same in either, a cast reads what there is, and all but the first of Resize's inputs are sizes.
      if (ANY.has(source.op) || (source.op === "Resize" && i > 0)) return this.#made.get(from)!;
      return isHalf ? this.#half(this.#made.get(from)!) : this.single(from);
    });
    const isKept = !isHalf && inputs.every((own, i) => own === source.inputs[i]);
    const outputs = isKept ? source.outputs : remade(source, inputs, isHalf ? "float16" : "float32");
    source.outputs.forEach((output, i) => {
      const name = labelOf(output);
      this.#made.set(output, name === undefined ? outputs[i]! : label(outputs[i]!, name));
    });
  }
}

/** The same node of other inputs, whose floats have another precision. */
const remade = (
  { op, domain, attributes, outputs }: Node,
  inputs: readonly (Value | null)[],
  precision: "float16" | "float32",
) =>
  nodes(
    op,
    inputs,
    outputs.map(({ dtype, shape }) => ({ dtype: dtype === "float32" ? precision : dtype, shape })),
    { attributes, domain },
  );

/** The same inputs and outputs, in between in half precision. */
export function half({ inputs, outputs }: Computation): Computation {
  const halving = new Halving();
  halving.write(Object.values(outputs));
  return {
    inputs,
    outputs: Object.fromEntries(Object.entries(outputs).map(([name, value]) => [name, halving.single(value)])),
  };
}
