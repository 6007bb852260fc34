import { cast, mul, reshape, transpose } from "../onnx/operators.ts";
import { type DType, external, type Shape, ShapeError, show, type Value } from "../onnx/value.ts";
import { type GraphChoices, PLAIN } from "./graph.ts";
import { CheckpointError, type StoredDType, type StoredTensor } from "./safetensors.ts";

/** Where a network's weights come from, by their whole checkpoint names. */
export interface WeightStore {
  has(name: string): boolean;
  /** A float32 value of exactly this shape, the same one each time. */
  get(name: string, shape: readonly number[]): Value;
}

/** Weights by their checkpoint names; `at` narrows to a part of the network, whose code then reads its own short names. */
export class Weights {
  readonly #store: WeightStore;
  readonly #prefix: string;
  /** The forms that the layers which read these weights are to have. */
  readonly choices: GraphChoices;

  constructor(store: WeightStore, prefix = "", choices: GraphChoices = PLAIN) {
    this.#store = store;
    this.#prefix = prefix;
    this.choices = choices;
  }

  /** The part of the network that these weights are of, such as "mid_block.resnets.0.conv1"; "" for all of it. */
  get path(): string {
    return this.#prefix.slice(0, -1);
  }

  at(part: string): Weights {
    return new Weights(this.#store, `${this.#prefix}${part}.`, this.choices);
  }

  has(name: string): boolean {
    return this.#store.has(this.#prefix + name);
  }

  get(name: string, shape: Shape): Value {
    return this.#store.get(this.#prefix + name, shape as readonly number[]);
  }
}

/** A stored tensor and the file (a name, without folder) that it lies in. */
export interface WeightSource extends StoredTensor {
  readonly location: string;
  /** Its bytes are those of the matrix with rows and columns exchanged. */
  readonly transposed?: true;
}

const dtypes: Partial<Record<StoredDType, DType>> = {
  F32: "float32",
  F16: "float16",
  BF16: "bfloat16",
  F64: "float64",
  F8_E4M3: "float8e4m3fn",
  F8_E5M2: "float8e5m2",
  I64: "int64",
};

/** Beside a weight in float8: the number that it is to be multiplied by (ComfyUI's scaled form). */
const scaleOf = (name: string) => (name.endsWith(".weight") ? name.replace(/weight$/, "scale_weight") : null);

/** Weights that stay in their files: the graph points to them, and turns every other precision into float32. */
export class StoredWeights implements WeightStore {
  readonly #tensors: ReadonlyMap<string, WeightSource>;
  readonly #values = new Map<string, Value>();

  constructor(tensors: ReadonlyMap<string, WeightSource>) {
    this.#tensors = tensors;
  }

  has(name: string): boolean {
    return this.#tensors.has(name);
  }

  /** @throws CheckpointError when it is missing, ShapeError with both shapes when it is not of `shape`. */
  get(name: string, shape: readonly number[]): Value {
    const source = this.#tensors.get(name);
    if (source === undefined) {
      throw new CheckpointError(`the checkpoint has no tensor "${name}"`);
    }
    if (show(source.shape) !== show(shape)) {
      throw new ShapeError(
        `"${name}" has the shape ${show(source.shape)}, but the network's config needs ${show(shape)}`,
      );
    }
    const dtype = dtypes[source.dtype];
    if (dtype === undefined) {
      throw new CheckpointError(
        `"${name}" is stored as ${source.dtype}, not as one of ${Object.keys(dtypes).join(", ")}`,
      );
    }
    let value = this.#values.get(name);
    if (value === undefined) {
      value = this.#scaled(name, asFloat32(name, dtype, shape, source));
      this.#values.set(name, value);
    }
    return value;
  }

  #scaled(name: string, value: Value): Value {
    const name8 = scaleOf(name);
    const source = name8 === null ? undefined : this.#tensors.get(name8);
    if (source === undefined) {
      return value;
    }
    const dtype = dtypes[source.dtype];
    if (dtype === undefined || source.shape.some((size) => size !== 1)) {
      throw new CheckpointError(`"${name8}" is ${source.dtype} ${show(source.shape)}, not one number`);
    }
    return mul(value, reshape(asFloat32(name8!, dtype, source.shape, source), []));
  }
}

function asFloat32(name: string, dtype: DType, shape: readonly number[], source: WeightSource): Value {
  return source.transposed
    ? transpose(cast(external(name, dtype, [...shape].reverse(), source), "float32"), [1, 0])
    : cast(external(name, dtype, shape, source), "float32");
}

/** The name and shape of every tensor that a network reads from a checkpoint of today's names. */
export function weightShapes(network: (weights: Weights) => unknown, absent: (name: string) => boolean = () => false) {
  const shapes = new Map<string, readonly number[]>();
  const nowhere = { location: "", offset: 0, length: 0 };
  const store: WeightStore = {
    has: (name) => !absent(name),
    get(name, shape) {
      shapes.set(name, shape);
      return external(name, "float32", shape, nowhere);
    },
  };
  network(new Weights(store));
  return shapes;
}
