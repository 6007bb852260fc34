import { bytes, concat, float, int, message } from "./protobuf.ts";
import {
  type Attribute,
  type Dim,
  type DType,
  ELEMENT_TYPES,
  type External,
  type Initializer,
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
  return concat(parts);
}

function valueInfo(name: string, { dtype, shape }: Value): Uint8Array {
  const dimension = (dim: Dim) => (typeof dim === "number" ? [int(1, dim)] : dim === "?" ? [] : [bytes(2, dim)]);
  const dims = shape.map((dim) => message(1, ...dimension(dim)));
  const type = message(1, int(1, ELEMENT_TYPES[dtype]), message(2, ...dims));
  return concat([bytes(1, name), message(2, type)]);
}

function attribute(name: string, value: Attribute): Uint8Array {
  if (typeof value === "number") {
    return concat([bytes(1, name), int(3, value), int(20, 2)]);
  }
  if (typeof value === "string") {
    return concat([bytes(1, name), bytes(4, value), int(20, 3)]);
  }
  if ("float" in value) {
    return concat([bytes(1, name), float(2, value.float), int(20, 1)]);
  }
  return concat([bytes(1, name), ...value.map((item) => int(8, item)), int(20, 7)]);
}

/** What a graph is built of. */
export interface Computation {
  readonly inputs: readonly Value[];
  readonly outputs: Readonly<Record<string, Value>>;
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
  const names = new Map<Value, string>();
  const initializers: Uint8Array[] = [];
  const written: Uint8Array[] = [];
  const outputNames = new Map(Object.entries(outputs).map(([name, value]) => [value, name]));

  function nameOf(value: Value | null): string {
    return value === null ? "" : names.get(value)!;
  }
  function writeInitializer(value: Value, { name, data }: Initializer) {
    const unique = `${name}#${initializers.length}`;
    names.set(value, unique);
    initializers.push(tensor(unique, value.dtype, value.shape, data));
  }
  function writeNode({ op, domain, inputs, attributes, outputs }: Node) {
    outputs.forEach((output, i) => {
      names.set(output, outputNames.get(output) ?? `${op}_${written.length}${i ? `.${i}` : ""}`);
    });
    const parts = inputs.map((value) => bytes(1, nameOf(value)));
    parts.push(...outputs.map((value) => bytes(2, nameOf(value))));
    parts.push(bytes(3, `${op}_${written.length}`), bytes(4, op));
    parts.push(...Object.entries(attributes).map(([name, value]) => message(5, attribute(name, value))));
    parts.push(bytes(7, domain));
    written.push(concat(parts));
  }
  // Depth first without recursion: a U-Net's longest path is some thousand nodes.
  function write(root: Value) {
    const stack = [root];
    while (stack.length > 0) {
      const value = stack[stack.length - 1]!;
      const data = stored.get(value);
      if (names.has(value)) {
        stack.pop();
      } else if (data !== undefined) {
        writeInitializer(value, { kind: "initializer", name: "", data });
      } else if (value.source.kind === "input") {
        throw new Error(`input "${value.source.name}" is used but not among the graph's inputs`);
      } else if (value.source.kind === "initializer") {
        writeInitializer(value, value.source);
      } else {
        const missing = value.source.inputs.filter((from) => from !== null && !names.has(from)) as Value[];
        if (missing.length === 0) {
          writeNode(value.source);
        } else {
          stack.push(...missing);
        }
      }
    }
  }

  for (const value of inputs) {
    if (value.source.kind !== "input") {
      throw new Error("a graph's inputs are made with input()");
    }
    names.set(value, value.source.name);
  }
  for (const value of Object.values(outputs)) {
    write(value);
  }
  // An input or a value that already has another name reaches its output through an Identity.
  for (const [name, value] of Object.entries(outputs)) {
    if (nameOf(value) !== name) {
      written.push(concat([bytes(1, nameOf(value)), bytes(2, name), bytes(4, "Identity")]));
    }
  }

  const graph = concat([
    ...written.map((node) => bytes(1, node)),
    bytes(2, "graph"),
    ...initializers.map((initializer) => bytes(5, initializer)),
    ...inputs.map((value) => bytes(11, valueInfo(nameOf(value), value))),
    ...Object.entries(outputs).map(([name, value]) => bytes(12, valueInfo(name, value))),
  ]);
  const opset = (domain: string, version: number) => message(8, bytes(1, domain), int(2, version));
  return concat([int(1, IR_VERSION), bytes(7, graph), opset("", OPSET), opset("com.microsoft", 1)]);
}
