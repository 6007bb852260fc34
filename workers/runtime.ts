/** The only file that knows onnxruntime: graphs become sessions, plain tensors go in and come out. */
import ort from "onnxruntime-node";
import type { Graph } from "../src/models/graph.ts";
import type { Tensor } from "../src/onnx/tensor.ts";

export interface Session {
  /** Feeds by input name → every output by its name. */
  run(feeds: Readonly<Record<string, Tensor>>): Promise<Record<string, Tensor>>;
  release(): Promise<void>;
}

const toRuntime = ({ data, dims }: Tensor) =>
  data instanceof Float32Array ? new ort.Tensor("float32", data, dims) : new ort.Tensor("int64", data, dims);

/** Blocks the calling thread for seconds per GB of weights, as every run of the session does for its time. */
export async function openSession(
  { bytes, folder }: Graph,
  options: ort.InferenceSession.SessionOptions,
): Promise<Session> {
  const session = await ort.InferenceSession.create(bytes, {
    graphOptimizationLevel: "all",
    logSeverityLevel: 3,
    ...options,
    extra: { session: { model_external_initializers_file_folder_path: folder } },
  });
  return {
    async run(feeds) {
      const runtimeFeeds = Object.fromEntries(Object.entries(feeds).map(([name, tensor]) => [name, toRuntime(tensor)]));
      const results = await session.run(runtimeFeeds);
      return Object.fromEntries(
        Object.entries(results).map(([name, { data, dims }]) => [name, { data: data as Tensor["data"], dims }]),
      );
    },
    release: () => session.release(),
  };
}
