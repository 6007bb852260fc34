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

/** What its bytes are to a graph. @throws CheckpointError for what is no weight: whole numbers of few bits, truth values */
export function weightDType(name: string, { dtype }: Pick<WeightSource, "dtype">): DType {
  const known = dtypes[dtype];
  if (known === undefined) {
    throw new CheckpointError(`"${name}" is stored as ${dtype}, not as one of ${Object.keys(dtypes).join(", ")}`);
  }
  return known;
}

/** Beside a weight in float8: the number, or one for each row, that it is to be multiplied by (ComfyUI's forms, before and now). */
const SCALES = ["scale_weight", "weight_scale"];
/** Other programs' scales: of blocks, of scales. */
const OTHER_SCALES = ["weight_scale_inv", "weight_scale_2", "scale", "absmax"];

const beside = (name: string, others: readonly string[]) =>
  name.endsWith(".weight") ? others.map((other) => name.replace(/weight$/, other)) : [];

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
    const dtype = weightDType(name, source);
    let value = this.#values.get(name);
    if (value === undefined) {
      value = this.#scaled(name, asFloat32(name, dtype, shape, source));
      this.#values.set(name, value);
    }
    return value;
  }

  /** @throws CheckpointError for scales of another form */
  #scaled(name: string, value: Value): Value {
    const isThere = (other: string) => this.#tensors.has(other);
    const other = beside(name, OTHER_SCALES).find(isThere);
    const [scale, second] = beside(name, SCALES).filter(isThere);
    if (second !== undefined || (other !== undefined && this.#tensors.get(name)!.dtype.startsWith("F8"))) {
      throw new CheckpointError(`"${second ?? other}": weights quantized so are not supported`);
    }
    if (scale === undefined) return value;
    const source = this.#tensors.get(scale)!;
    const dtype = dtypes[source.dtype];
    const count = source.shape.reduce((product, size) => product * size, 1);
    const isRows = source.shape[0] === count && value.shape[0] === count;
    if (dtype === undefined || (count !== 1 && !isRows)) {
      throw new CheckpointError(
        `"${scale}" is ${source.dtype} ${show(source.shape)}, not one number, or one for each row`,
      );
    }
    const rows = count === 1 ? [] : value.shape.map((_, axis) => (axis === 0 ? count : 1));
    return mul(value, reshape(asFloat32(scale, dtype, source.shape, source), rows));
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
