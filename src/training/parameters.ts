import type { WeightStore } from "../models/weights.ts";
import type { Tensor } from "../onnx/tensor.ts";
import { input, ShapeError, show, type Value } from "../onnx/value.ts";

export type Shapes = ReadonlyMap<string, readonly number[]>;

/** Named tensors side by side in one array: an optimiser's pass over all of them is one loop, and saving them one write. */
export interface Block {
  readonly data: Float32Array;
  /** Views into `data`. */
  readonly tensors: ReadonlyMap<string, Tensor & { readonly data: Float32Array }>;
}

/** A block of zeros, in memory that threads can share. */
export function block(shapes: Shapes): Block {
  const sizes = [...shapes.values()].map((shape) => shape.reduce((product, dim) => product * dim, 1));
  const length = sizes.reduce((sum, size) => sum + size, 0);
  const data = new Float32Array(new SharedArrayBuffer(length * Float32Array.BYTES_PER_ELEMENT));
  let start = 0;
  const tensors = [...shapes].map(([name, dims], i) => {
    const view = data.subarray(start, start + sizes[i]!);
    start += sizes[i]!;
    return [name, { dims, data: view }] as const;
  });
  return { data, tensors: new Map(tensors) };
}

/** A network's weights as inputs of the graph, by `prefix` and their checkpoint names: what a training step changes. */
export class TrainableWeights implements WeightStore {
  /** The inputs that the network has asked for, by prefixed name. */
  readonly inputs = new Map<string, Value>();
  readonly #shapes: Shapes;
  readonly #prefix: string;

  constructor(shapes: Shapes, prefix = "") {
    this.#shapes = shapes;
    this.#prefix = prefix;
  }

  has(name: string): boolean {
    return this.#shapes.has(this.#prefix + name);
  }

  get(name: string, shape: readonly number[]): Value {
    const whole = this.#prefix + name;
    const own = this.#shapes.get(whole);
    if (own === undefined || show(own) !== show(shape)) {
      throw new ShapeError(`"${whole}": the network needs ${show(shape)}, the parameter is ${own && show(own)}`);
    }
    const value = this.inputs.get(whole) ?? input(whole, "float32", shape);
    this.inputs.set(whole, value);
    return value;
  }
}
