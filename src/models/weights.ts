import { cast } from "../onnx/operators.ts";
import { type DType, external, type Shape, ShapeError, show, type Value } from "../onnx/value.ts";
import { CheckpointError, type StoredDType, type StoredTensor } from "./safetensors.ts";

/** A stored tensor and the file (a name, without folder) that it lies in. */
export interface WeightSource extends StoredTensor {
  readonly location: string;
}

const dtypes: Record<StoredDType, DType> = { F32: "float32", F16: "float16", BF16: "bfloat16", I64: "int64" };

/**
 * A network's weights by their checkpoint names, each handed out as one graph value in float32. `at` narrows to a part of
 * the network, so that a block's code reads its own short names.
 */
export class Weights {
  readonly #tensors: ReadonlyMap<string, WeightSource>;
  readonly #values: Map<string, Value>;
  readonly #prefix: string;

  constructor(tensors: ReadonlyMap<string, WeightSource>, prefix = "", values = new Map<string, Value>()) {
    this.#tensors = tensors;
    this.#prefix = prefix;
    this.#values = values;
  }

  at(part: string): Weights {
    return new Weights(this.#tensors, `${this.#prefix}${part}.`, this.#values);
  }

  has(name: string): boolean {
    return this.#tensors.has(this.#prefix + name);
  }

  /** The stored shape. @throws CheckpointError when the checkpoint has no such tensor. */
  shape(name: string): readonly number[] {
    return this.#source(name).shape;
  }

  /** @throws CheckpointError when it is missing, ShapeError with both shapes when it is not of `shape`. */
  get(name: string, shape: Shape): Value {
    const key = this.#prefix + name;
    const source = this.#source(name);
    if (show(source.shape) !== show(shape)) {
      throw new ShapeError(
        `"${key}" has the shape ${show(source.shape)}, but the network's config needs ${show(shape)}`,
      );
    }
    let value = this.#values.get(key);
    if (value === undefined) {
      value = cast(external(key, dtypes[source.dtype], source.shape, source), "float32");
      this.#values.set(key, value);
    }
    return value;
  }

  /** Bytes of everything handed out so far, as float32. */
  get usedBytes(): number {
    const sizes = [...this.#values.values()].map(({ shape }) => (shape as number[]).reduce((a, b) => a * b, 4));
    return sizes.reduce((a, b) => a + b, 0);
  }

  #source(name: string): WeightSource {
    const source = this.#tensors.get(this.#prefix + name);
    if (source === undefined) {
      throw new CheckpointError(`the checkpoint has no tensor "${this.#prefix}${name}"`);
    }
    return source;
  }
}
