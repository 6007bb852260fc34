import { CheckpointError } from "../../models/safetensors.ts";
import { StoredWeights, type WeightSource } from "../../models/weights.ts";
import { conv2d } from "../../onnx/spatial.ts";
import type { Value } from "../../onnx/value.ts";

/** A published network's weights by their names there, as wide as the file has them. */
export class NamedWeights {
  readonly #tensors: ReadonlyMap<string, WeightSource>;
  readonly #store: StoredWeights;
  readonly #used = new Map<string, Value>();

  constructor(tensors: ReadonlyMap<string, WeightSource>) {
    this.#tensors = tensors;
    this.#store = new StoredWeights(tensors);
  }

  has(name: string): boolean {
    return this.#tensors.has(name);
  }

  /** @throws CheckpointError when it is missing, or not of `rank` axes */
  get(name: string, rank: number): Value {
    const shape = this.#tensors.get(name)?.shape;
    if (shape === undefined) throw new CheckpointError(`the file has no tensor "${name}"`);
    if (shape.length !== rank) throw new CheckpointError(`"${name}" has the shape [${shape}], not one of ${rank} axes`);
    const value = this.#store.get(name, shape);
    this.#used.set(name, value);
    return value;
  }

  weight = (layer: string) => this.get(`${layer}.weight`, 4);
  bias = (layer: string) => (this.has(`${layer}.bias`) ? this.get(`${layer}.bias`, 1) : null);

  /** The convolution of a layer's name. */
  conv(layer: string, x: Value, options: Parameters<typeof conv2d>[3] = {}): Value {
    return conv2d(x, this.weight(layer), this.bias(layer), options);
  }

  /** Bytes of every tensor handed out so far, as float32. */
  get usedBytes(): number {
    const elements = [...this.#used.values()].map(({ shape }) => (shape as number[]).reduce((a, b) => a * b, 1));
    return 4 * elements.reduce((a, b) => a + b, 0);
  }
}
