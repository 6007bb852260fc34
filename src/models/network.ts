import { build, type Computation } from "../onnx/build.ts";
import type { Graft } from "../onnx/graft.ts";
import type { Checkpoint } from "./checkpoint.ts";
import type { Graph, GraphChoices } from "./graph.ts";
import { StoredWeights, type WeightStore, Weights } from "./weights.ts";

/** One network of a checkpoint: its graph is built when it is asked for, which costs milliseconds. */
export interface Network {
  graph(choices?: GraphChoices): Graph;
  /** What the graph is built of. */
  computation(choices?: GraphChoices): Computation;
  /** Where the files of its weights lie. */
  readonly folder: string;
  /** What its weights take in memory, as float32. */
  readonly weightBytes: number;
  /** The names of the tensors that it reads. */
  readonly reads: ReadonlySet<string>;
  /** It is `trunk` with `grafts` added, on whose weights it runs. */
  readonly grafted?: { readonly trunk: Network; readonly grafts: readonly Graft[] };
}

/** A store that notes what is read from it, and how many elements each has. */
function noting(store: WeightStore, elements: Map<string, number>): WeightStore {
  return {
    has: (name) => store.has(name),
    get(name, shape) {
      const value = store.get(name, shape);
      elements.set(
        name,
        shape.reduce((product, dim) => product * dim, 1),
      );
      return value;
    },
  };
}

/**
 * Computes the graph's values once, so that whatever config and weights disagree about is known now.
 * @param store any, so that weights can be wrapped, as a LoRA does, without a change to the networks
 * @param folder where the files lie that the store's values point to
 * @param files their names, where they lie deeper
 */
export function network(
  store: WeightStore,
  folder: string,
  compute: (weights: Weights) => Computation,
  files?: readonly string[],
): Network {
  const elements = new Map<string, number>();
  const noted = noting(store, elements);
  const computation = (choices?: GraphChoices) => compute(new Weights(noted, "", choices));
  computation();
  return {
    graph(choices) {
      const { inputs, outputs } = computation(choices);
      return { bytes: build(inputs, outputs), folder, ...(files !== undefined && { files }) };
    },
    computation,
    folder,
    weightBytes: 4 * [...elements.values()].reduce((sum, count) => sum + count, 0),
    reads: new Set(elements.keys()),
  };
}

/** A network whose weights are a checkpoint's, as they are stored. */
export const storedNetwork = ({ tensors, folder }: Checkpoint, compute: (weights: Weights) => Computation): Network =>
  network(new StoredWeights(tensors), folder, compute);

/** Networks of a checkpoint, one for each number: made when it is first asked for, the same one each time. */
export function storedNetworks(
  checkpoint: Checkpoint,
  compute: (weights: Weights, index: number) => Computation,
): (index: number) => Network {
  const made = new Map<number, Network>();
  return (index) => {
    const one = made.get(index) ?? storedNetwork(checkpoint, (w) => compute(w, index));
    made.set(index, one);
    return one;
  };
}
