/** The only file that knows onnxruntime: graphs become sessions, plain tensors go in and come out. */
import ort from "onnxruntime-node";
import type { Graph } from "../src/models/graph.ts";
import { build } from "../src/onnx/build.ts";
import { add } from "../src/onnx/operators.ts";
import type { Tensor } from "../src/onnx/tensor.ts";
import { input } from "../src/onnx/value.ts";

export interface Session {
  /** Feeds by input name → every output by its name, those that `into` names written into its tensors. */
  run(
    feeds: Readonly<Record<string, Tensor>>,
    into?: Readonly<Record<string, Tensor>>,
  ): Promise<Record<string, Tensor>>;
  release(): Promise<void>;
}

const mapValues = <T, U>(record: Readonly<Record<string, T>>, change: (value: T) => U): Record<string, U> =>
  Object.fromEntries(Object.entries(record).map(([name, value]) => [name, change(value)]));

const toRuntime = ({ data, dims }: Tensor): ort.Tensor =>
  data instanceof Float32Array ? new ort.Tensor("float32", data, dims) : new ort.Tensor("int64", data, dims);

/** What a session computes on. */
export interface Provider {
  readonly name: string;
  readonly options: ort.InferenceSession.SessionOptions;
}

export const CPU: Provider = { name: "cpu", options: { executionProviders: ["cpu"] } };

/** Blocks the calling thread for seconds per GB of weights, as every run of the session does for its time. */
export async function openSession({ bytes, folder }: Graph, { options }: Provider): Promise<Session> {
  const session = await ort.InferenceSession.create(bytes, {
    graphOptimizationLevel: "all",
    logSeverityLevel: 3,
    ...options,
    extra: { session: { model_external_initializers_file_folder_path: folder } },
  });
  return {
    async run(feeds, into = {}) {
      const own = session.outputNames.map((name) => [name, name in into ? toRuntime(into[name]!) : null]);
      const results = await session.run(mapValues(feeds, toRuntime), Object.fromEntries(own));
      return Object.fromEntries(
        Object.entries(results).map(([name, { data, dims }]) => [name, { data: data as Tensor["data"], dims }]),
      );
    },
    release: () => session.release(),
  };
}

/** Whether a session can be made on an execution provider here: its libraries and its device are present. */
async function works(provider: Provider): Promise<boolean> {
  const x = input("x", "float32", [1]);
  try {
    await (await openSession({ bytes: build([x], { y: add(x, x) }), folder: "." }, provider)).release();
    return true;
  } catch {
    return false;
  }
}

/**
 * The provider that EXECUTION_PROVIDER names; `auto` takes CUDA where it works, else the CPU.
 * @throws Error when the one that is named does not work here
 */
export async function chooseProvider(name: string): Promise<Provider> {
  const accelerator = name === "auto" ? "cuda" : name;
  const provider = name === "cpu" ? CPU : { name: accelerator, options: { executionProviders: [accelerator, "cpu"] } };
  if (await works(provider)) {
    return provider;
  }
  if (name === "auto") {
    return CPU;
  }
  throw new Error(`EXECUTION_PROVIDER=${name} does not work on this machine`);
}
