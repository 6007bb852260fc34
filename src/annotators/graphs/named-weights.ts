import { CheckpointError } from "../../models/safetensors.ts";
import { StoredWeights, type WeightSource } from "../../models/weights.ts";
import { conv2d } from "../../onnx/spatial.ts";
import type { Value } from "../../onnx/value.ts";

/** A published network's weights by their names there, as wide as the file has them. */
export class NamedWeights {
  readonly #tensors: ReadonlyMap<string, WeightSource>;
  readonly #store: StoredWeights;

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
    return this.#store.get(name, shape);
  }

  weight = (layer: string) => this.get(`${layer}.weight`, 4);
  bias = (layer: string) => (this.has(`${layer}.bias`) ? this.get(`${layer}.bias`, 1) : null);

  /** The convolution of a layer's name. */
  conv(layer: string, x: Value, options: Parameters<typeof conv2d>[3] = {}): Value {
    return conv2d(x, this.weight(layer), this.bias(layer), options);
  }

  get usedBytes(): number {
    return this.#store.usedBytes;
  }
}
