/** A computation as a part of a larger one: its values made anew, with some of its inputs given and its weights seen from elsewhere. */
import type { Computation } from "./build.ts";
import { inputsFirst } from "./order.ts";
import { type Initializer, input, label, labelOf, nodes, type Shape, type Value } from "./value.ts";

export interface Placed {
  /** What stands for an input, by its name. */
  readonly given: Readonly<Record<string, Value>>;
  /** What the other inputs, the sizes that they leave open, and the layers are called in the larger one. */
  readonly rename: (name: string) => string;
  /** Where a file of weights lies, seen from the folder of the larger one. */
  readonly place: (location: string) => string;
}

/** The inputs that are left, and the outputs under their own names. */
export function within({ inputs, outputs }: Computation, { given, rename, place }: Placed): Computation {
  const made = new Map<Value, Value>();
  const left: Value[] = [];
  const sizes = (shape: Shape) => shape.map((dim) => (typeof dim === "string" && dim !== "?" ? rename(dim) : dim));
  for (const value of inputs) {
    const { name } = value.source as { name: string };
    const own = given[name] ?? input(rename(name), value.dtype, sizes(value.shape));
    if (given[name] === undefined) left.push(own);
    made.set(value, own);
  }
  for (const value of inputsFirst(Object.values(outputs), (one) => made.has(one))) {
    const { source } = value;
    if (source.kind !== "node") {
      made.set(value, { ...value, source: placed(source as Initializer, place) });
      continue;
    }
    const { op, domain, attributes } = source;
    const read = source.inputs.map((from) => from && made.get(from)!);
    for (const [i, own] of nodes(op, read, source.outputs, { attributes, domain }).entries()) {
      const output = source.outputs[i]!;
      const name = labelOf(output);
      made.set(output, name === undefined ? own : label(own, rename(name)));
    }
  }
  const results = Object.entries(outputs).map(([name, value]) => [name, made.get(value)!] as const);
  return { inputs: left, outputs: Object.fromEntries(results) };
}

const placed = (source: Initializer, place: (location: string) => string): Initializer =>
  source.data instanceof Uint8Array
    ? source
    : { ...source, data: { ...source.data, location: place(source.data.location) } };
