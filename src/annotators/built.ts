import { readCheckpoint } from "../models/checkpoint.ts";
import { readTorchFile } from "../models/torch-file.ts";
import { build, type Computation } from "../onnx/build.ts";
import { NamedWeights } from "./graphs/named-weights.ts";
import type { StoredNetwork } from "./onnx-file.ts";

/** Endings of files of weights, and how each is opened. */
const READERS = { ".safetensors": readCheckpoint, ".pth": readTorchFile } as const;

/** The names that a file of weights may have. */
export const weightFiles = (stem: string): string[] => Object.keys(READERS).map((ending) => stem + ending);

/**
 * A network whose graph is built here, from the weights that its authors published; they stay in their file.
 * @throws CheckpointError when the file is not sound or lacks a tensor, ShapeError when they do not fit together
 */
export function openBuilt(file: string, network: (weights: NamedWeights) => Computation): StoredNetwork {
  const read = READERS[file.endsWith(".pth") ? ".pth" : ".safetensors"];
  const { folder, tensors } = read(file);
  const weights = new NamedWeights(tensors);
  const { inputs, outputs } = network(weights);
  return {
    inputs: inputs.map(({ source, dtype, shape }) => ({
      name: source.kind === "input" ? source.name : "",
      dtype,
      shape,
    })),
    outputs: Object.entries(outputs).map(([name, { dtype, shape }]) => ({ name, dtype, shape })),
    weightBytes: weights.usedBytes,
    graph: () => ({ bytes: build(inputs, outputs), folder }),
  };
}
