/**
 * Graph values: what operators take and give. Immutable, and typed by dtype and shape, so that a mistake shows where the
 * node is made and not when a session is created.
 */

export type DType =
  | "float32"
  | "float16"
  | "bfloat16"
  | "float64"
  | "float8e4m3fn"
  | "float8e5m2"
  | "int64"
  | "int32"
  | "int8"
  | "uint8"
  | "bool";

/** Numbers of onnx.proto3's TensorProto.DataType. */
export const ELEMENT_TYPES: Readonly<Record<DType, number>> = {
  float32: 1,
  uint8: 2,
  int8: 3,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
  float64: 11,
  bfloat16: 16,
  float8e4m3fn: 17,
  float8e5m2: 19,
};

/** Bytes of one element. */
export const ELEMENT_BYTES: Readonly<Record<DType, number>> = {
  float32: 4,
  int8: 1,
  uint8: 1,
  int32: 4,
  int64: 8,
  bool: 1,
  float16: 2,
  float64: 8,
  bfloat16: 2,
  float8e4m3fn: 1,
  float8e5m2: 1,
};

/** A known size, or the name of one that is known only at run time, such as "B", "h/2" or "h*w". */
export type Dim = number | string;
export type Shape = readonly Dim[];

/** An attribute: whole numbers are ints; a float is marked as such, because ONNX tells 1 from 1.0. */
export type Attribute = number | string | readonly number[] | { readonly float: number };

/** Bytes of a file that hold a tensor, row-major and little endian. `location` is a file name, without a folder. */
export interface External {
  readonly location: string;
  readonly offset: number;
  readonly length: number;
}

export interface Input {
  readonly kind: "input";
  readonly name: string;
}
export interface Initializer {
  readonly kind: "initializer";
  readonly name: string;
  readonly data: External | Uint8Array;
}
export interface Node {
  readonly kind: "node";
  readonly op: string;
  readonly domain: string;
  readonly inputs: readonly (Value | null)[];
  readonly attributes: Readonly<Record<string, Attribute>>;
  readonly outputs: readonly Value[];
}

export interface Value {
  readonly dtype: DType;
  readonly shape: Shape;
  readonly source: Input | Initializer | Node;
}

/** Shapes or dtypes that an operator cannot take, or a checkpoint tensor that is not of the shape its network needs. */
export class ShapeError extends Error {}

export const show = (shape: Shape) => `[${shape.join(", ")}]`;

export const sameShape = (a: Shape, b: Shape) => a.length === b.length && a.every((dim, i) => dim === b[i]);

export function input(name: string, dtype: DType, shape: Shape): Value {
  return { dtype, shape, source: { kind: "input", name } };
}

/** A tensor that stays in its file: the graph holds only where it lies. */
export function external(name: string, dtype: DType, shape: readonly number[], data: External): Value {
  return { dtype, shape, source: { kind: "initializer", name, data } };
}

const arrays = {
  float32: Float32Array,
  int8: Int8Array,
  uint8: Uint8Array,
  int32: Int32Array,
  int64: BigInt64Array,
} as const;

/** A small tensor written into the graph itself. */
export function constant(
  dtype: keyof typeof arrays,
  shape: readonly number[],
  values: ArrayLike<number>,
  name = "",
): Value {
  const size = shape.reduce((product, dim) => product * dim, 1);
  if (values.length !== size) {
    throw new ShapeError(`constant: ${values.length} values do not fill the shape ${show(shape)}`);
  }
  const data =
    dtype === "int64"
      ? BigInt64Array.from(Array.from(values), (v) => BigInt(v))
      : arrays[dtype].from(Array.from(values));
  return { dtype, shape, source: { kind: "initializer", name, data: new Uint8Array(data.buffer) } };
}

/** A float32 number. */
export const scalar = (value: number) => constant("float32", [], [value]);

const labels = new WeakMap<Value, string>();

/**
 * A node's value under a name of its own, by which a runtime's optimised graph can be searched for it (src/onnx/graft.ts): build()
 * writes it as the node's name, and as the value's.
 */
export function label(value: Value, name: string): Value {
  labels.set(value, name);
  return value;
}

export const labelOf = (value: Value): string | undefined => labels.get(value);

interface NodeOptions {
  readonly attributes?: Readonly<Record<string, Attribute>>;
  /** "" is ONNX's own operator set. */
  readonly domain?: string;
}

/** A node with several outputs; the shapes and dtypes are the caller's finding. */
export function nodes(
  op: string,
  inputs: readonly (Value | null)[],
  results: readonly { dtype: DType; shape: Shape }[],
  { attributes = {}, domain = "" }: NodeOptions = {},
): readonly Value[] {
  const outputs: Value[] = [];
  const source: Node = { kind: "node", op, domain, inputs, attributes, outputs };
  for (const { dtype, shape } of results) {
    outputs.push({ dtype, shape, source });
  }
  return outputs;
}

export function node(
  op: string,
  inputs: readonly (Value | null)[],
  shape: Shape,
  options: NodeOptions & { readonly dtype?: DType } = {},
): Value {
  const dtype = options.dtype ?? inputs[0]?.dtype ?? "float32";
  return nodes(op, inputs, [{ dtype, shape }], options)[0]!;
}
