import { inputsFirst } from "./order.ts";
import { bytes, float, int, joinBytes, message } from "./protobuf.ts";
import {
  type Attribute,
  type Dim,
  type DType,
  ELEMENT_TYPES,
  type External,
  type Initializer,
  labelOf,
  type Node,
  type Shape,
  type Value,
} from "./value.ts";

/** Field numbers and enum values of onnx.proto3 (github.com/onnx/onnx, IR version 10). */
const IR_VERSION = 10;
const OPSET = 23;
const EXTERNAL = 1;

const entry = (key: string, value: string) => message(13, bytes(1, key), bytes(2, value));

function tensor(name: string, dtype: DType, shape: Shape, data: External | Uint8Array): Uint8Array {
  const parts = shape.map((dim) => int(1, dim as number));
  parts.push(int(2, ELEMENT_TYPES[dtype]), bytes(8, name));
  if (data instanceof Uint8Array) {
    parts.push(bytes(9, data));
  } else {
    parts.push(entry("location", data.location), entry("offset", `${data.offset}`), entry("length", `${data.length}`));
    parts.push(int(14, EXTERNAL));
  }
  return joinBytes(parts);
}

/** A graph's input or output; "?" is a size that nobody knows. */
export function valueInfo(name: string, { dtype, shape }: Pick<Value, "dtype" | "shape">): Uint8Array {
  const dimension = (dim: Dim) => (typeof dim === "number" ? [int(1, dim)] : dim === "?" ? [] : [bytes(2, dim)]);
  const dims = shape.map((dim) => message(1, ...dimension(dim)));
  const type = message(1, int(1, ELEMENT_TYPES[dtype]), message(2, ...dims));
  return joinBytes([bytes(1, name), message(2, type)]);
}

export function attributeProto(name: string, value: Attribute): Uint8Array {
  if (typeof value === "number") {
    return joinBytes([bytes(1, name), int(3, value), int(20, 2)]);
  }
  if (typeof value === "string") {
    return joinBytes([bytes(1, name), bytes(4, value), int(20, 3)]);
  }
  if ("float" in value) {
    return joinBytes([bytes(1, name), float(2, value.float), int(20, 1)]);
  }
  return joinBytes([bytes(1, name), ...value.map((item) => int(8, item)), int(20, 7)]);
}

/** What a graph is built of. */
export interface Computation {
  readonly inputs: readonly Value[];
  readonly outputs: Readonly<Record<string, Value>>;
}

/** Writes values and the nodes that make them, each once, behind what they are made of. */
class Writer {
  readonly initializers: Uint8Array[] = [];
  readonly nodes: Uint8Array[] = [];
  readonly #names = new Map<Value, string>();
  readonly #labels = new Set<string>();
  readonly #outputNames: ReadonlyMap<Value, string>;
  readonly #stored: ReadonlyMap<Value, External>;
  /** The names of outputs, which no other value may have. */
  readonly #taken: ReadonlySet<string>;

  constructor(outputs: Readonly<Record<string, Value>>, stored: ReadonlyMap<Value, External>) {
    this.#outputNames = new Map(Object.entries(outputs).map(([name, value]) => [value, name]));
    this.#stored = stored;
    this.#taken = new Set(Object.keys(outputs));
  }

  nameOf(value: Value | null): string {
    return value === null ? "" : this.#names.get(value)!;
  }

  declareInput(value: Value): void {
    if (value.source.kind !== "input") {
      throw new Error("a graph's inputs are made with input()");
    }
    this.#names.set(value, value.source.name);
  }

  write(root: Value): void {
    for (const value of inputsFirst(
      [root],
      (one) => this.#names.has(one),
      (one) => this.#stored.has(one),
    )) {
      const data = this.#stored.get(value);
      const { source } = value;
      if (data !== undefined) this.#writeInitializer(value, { kind: "initializer", name: "", data });
      else if (source.kind === "initializer") this.#writeInitializer(value, source);
      else if (source.kind === "node") this.#writeNode(source);
      else throw new Error(`input "${source.name}" is used but not among the graph's inputs`);
    }
  }

  /** Gives a value a second name. */
  writeIdentity(value: Value, name: string): void {
    this.nodes.push(joinBytes([bytes(1, this.nameOf(value)), bytes(2, name), bytes(4, "Identity")]));
  }

  #writeInitializer(value: Value, { name, data }: Initializer): void {
    const unique = `${name}#${this.initializers.length}`;
    this.#names.set(value, unique);
    this.initializers.push(tensor(unique, value.dtype, value.shape, data));
  }

  #writeNode({ op, domain, inputs, attributes, outputs }: Node): void {
    const label = outputs.map(labelOf).find((own) => own !== undefined && !this.#labels.has(own));
    const name = label ?? `${op}_${this.nodes.length}`;
    this.#labels.add(name);
    outputs.forEach((output, i) => {
      const own = `${name}${i ? `.${i}` : ""}`;
      this.#names.set(output, this.#outputNames.get(output) ?? (this.#taken.has(own) ? `${own}:value` : own));
    });
    const parts = inputs.map((value) => bytes(1, this.nameOf(value)));
    parts.push(...outputs.map((value) => bytes(2, this.nameOf(value))));
    parts.push(bytes(3, name), bytes(4, op));
    parts.push(...Object.entries(attributes).map(([name, value]) => message(5, attributeProto(name, value))));
    parts.push(bytes(7, domain));
    this.nodes.push(joinBytes(parts));
  }
}

/**
 * The bytes of an ONNX model that computes `outputs`. What they do not need is left out; a value used twice is written once.
 * Inputs keep the names they were made with, also those that no output needs.
 * @param stored values that need not be computed, and where they lie
 */
export function build(
  inputs: readonly Value[],
  outputs: Readonly<Record<string, Value>>,
  stored: ReadonlyMap<Value, External> = new Map(),
): Uint8Array {
  const writer = new Writer(outputs, stored);
  for (const value of inputs) {
    writer.declareInput(value);
  }
  for (const value of Object.values(outputs)) {
    writer.write(value);
  }
  // An input or a value that already has another name reaches its output through an Identity.
  for (const [name, value] of Object.entries(outputs)) {
    if (writer.nameOf(value) !== name) {
      writer.writeIdentity(value, name);
    }
  }

  const graph = joinBytes([
    ...writer.nodes.map((node) => bytes(1, node)),
    bytes(2, "graph"),
    ...writer.initializers.map((initializer) => bytes(5, initializer)),
    ...inputs.map((value) => bytes(11, valueInfo(writer.nameOf(value), value))),
    ...Object.entries(outputs).map(([name, value]) => bytes(12, valueInfo(name, value))),
  ]);
  const opset = (domain: string, version: number) => message(8, bytes(1, domain), int(2, version));
  return joinBytes([int(1, IR_VERSION), bytes(7, graph), opset("", OPSET), opset("com.microsoft", 1)]);
}
