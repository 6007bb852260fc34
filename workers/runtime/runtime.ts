/** The only file that knows onnxruntime: graphs become sessions, plain tensors go in and come out. */
import { open, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import ort from "onnxruntime-node";
import type { Graph, GraphChoices } from "../../src/models/graph.ts";
import type { Network } from "../../src/models/network.ts";
import { build } from "../../src/onnx/build.ts";
import { foldable } from "../../src/onnx/fold.ts";
import { type Graft, GraftError, graft } from "../../src/onnx/graft.ts";
import type { Tensor } from "../../src/onnx/tensor.ts";
import { ELEMENT_BYTES, type External, type Value } from "../../src/onnx/value.ts";
import { type PreparedCache, prepareKey } from "./prepared.ts";

export interface Session {
  /** Feeds by input name → every output by its name, those that `into` names written into its tensors. */
  run(
    feeds: Readonly<Record<string, Tensor>>,
    into?: Readonly<Record<string, Tensor>>,
  ): Promise<Record<string, Tensor>>;
  release(): Promise<void>;
}

/** A network that can be in memory: one whose graph is built here, or that is a file. */
export type Loadable = Network | Pick<Network, "graph" | "weightBytes">;

const mapValues = <T, U>(record: Readonly<Record<string, T>>, change: (value: T) => U): Record<string, U> =>
  Object.fromEntries(Object.entries(record).map(([name, value]) => [name, change(value)]));

const toRuntime = ({ data, dims }: Tensor): ort.Tensor =>
  data instanceof Float32Array ? new ort.Tensor("float32", data, dims) : new ort.Tensor("int64", data, dims);

/** What a session computes on. */
export interface Provider extends GraphChoices {
  readonly name: string;
  readonly options: ort.InferenceSession.SessionOptions;
  /** A U-Net and its ControlNets in one session (src/models/joint.ts), which saves the residuals a trip through the host's memory. */
  readonly joint: boolean;
}

export const CPU: Provider = {
  name: "cpu",
  options: { executionProviders: ["cpu"] },
  winograd: true,
  fusedAttention: true,
  int8: false,
  half: false,
  joint: false,
};

/** The CPU in 8 bits, where that gains: other arithmetic, and so of another name. */
export const CPU_INT8: Provider = { ...CPU, name: "cpu, int8", int8: true };

const ERRORS_ONLY = 3;

/** Blocks the calling thread for some ten seconds per GB of half-precision weights, as every run does for its time. */
export async function openSession(graph: Graph, { options }: Provider): Promise<Session> {
  return sessionOf(await create(graph, options));
}

/** What follows from weights alone, without the time and the memory that preparing takes for runs to come. */
export async function runOnce({ bytes, folder }: Graph): Promise<Record<string, Tensor>> {
  const options = { ...CPU.options, graphOptimizationLevel: "disabled", enableCpuMemArena: false } as const;
  const session = sessionOf(await create({ bytes, folder }, options, { disable_prepacking: "1" }));
  return session.run({}).finally(() => session.release());
}

function create({ bytes, folder }: Graph, options: ort.InferenceSession.SessionOptions, saving = {}) {
  return ort.InferenceSession.create(bytes, {
    graphOptimizationLevel: "all",
    logSeverityLevel: ERRORS_ONLY,
    ...options,
    extra: { session: { model_external_initializers_file_folder_path: folder, ...saving } },
  });
}

/**
 * As openSession, with the same results to the byte, but from what the cache holds, which it is given when it lacks it:
 * under a second per GB, and the weights stay in the page cache, which processes share.
 */
export async function openPrepared(network: Network, provider: Provider, cache: PreparedCache): Promise<Session> {
  if (provider !== CPU && provider !== CPU_INT8) {
    return openSession(network.graph(provider), provider); // other providers prepare weights for their device, on the device
  }
  const { trunk, grafts } = network.grafted ?? { trunk: network, grafts: [] };
  const graph = trunk.graph(provider);
  const size = PREPARED_SIZE * bytesInMemory(trunk, provider);
  const key = await prepareKey(graph, `onnxruntime ${ort.env.versions.node} ${JSON.stringify(SAVING)}`);
  for (let attempt = 0; attempt < 2; attempt++) {
    const folder = await cache.entry(key, size, (to) => prepare(trunk, provider, to));
    if (folder === null) {
      break;
    }
    try {
      return sessionOf(await openModel(folder, grafts));
    } catch (error) {
      if (error instanceof GraftError) throw error;
      await cache.remove(key); // damaged, or removed since by another process
    }
  }
  return openSession(network.graph(provider), provider);
}

const MODEL = "model.onnx";
/** Bytes of a prepared network per byte of its weights, with room to spare: some of its weights are Winograd's. */
const PREPARED_SIZE = 1.7;

const SAVING = {
  optimized_model_external_initializers_file_name: "weights",
  // Prepacked weights are read as if they began at 64-byte boundaries, but lie behind what comes before: a tensor of an odd
  // size, as CLIP's mask of 77 × 77, would crash the process. Smaller ones go into the model's own file.
  optimized_model_external_initializers_min_size_in_bytes: "32768",
  save_external_prepacked_constant_initializers: "1",
};

/**
 * Optimises a network for this CPU and writes it: its weights as float32, in the layout that the kernels read. They are folded
 * in parts and into a file, because the runtime would hold two and a half times the weights while it folds them.
 */
async function prepare(network: Network, choices: GraphChoices, folder: string): Promise<void> {
  const { inputs, outputs } = network.computation(choices);
  const file = join(folder, FOLDED);
  const folded = await fold(foldable(Object.values(outputs)), network.folder, file);
  const options = { ...CPU.options, optimizedModelFilePath: join(folder, MODEL) };
  await (await create({ bytes: build(inputs, outputs, folded), folder }, options, SAVING)).release();
  await rm(file);
}

const bytesOfValue = ({ dtype, shape }: Value) =>
  (shape as number[]).reduce((product, dim) => product * dim, ELEMENT_BYTES[dtype]);

/** What a network's weights take in memory: as float32, or of another precision what there is of them. */
export function bytesInMemory(network: Loadable, choices: GraphChoices): number {
  if (!(choices.int8 || choices.half) || !("computation" in network)) return network.weightBytes;
  const { outputs } = (network.grafted?.trunk ?? network).computation(choices);
  return foldable(Object.values(outputs)).reduce((sum, value) => sum + bytesOfValue(value), 0);
}

const FOLDED = "folded";
/** Bytes of weights that are folded at a time. */
const PART = 2 ** 26;
/** Only what begins at a page's boundary can be mapped into memory. */
const PAGE = 4096;

/** Computes values that follow from the weights in a folder, and writes them into a file → where in it each lies. */
async function fold(values: readonly Value[], folder: string, file: string): Promise<Map<Value, External>> {
  const folded = new Map<Value, External>();
  const out = await open(file, "w");
  try {
    let offset = 0;
    for (const part of parts(values)) {
      const bytes = build([], Object.fromEntries(part.map((value, i) => [`value_${i}`, value])));
      const results = await runOnce({ bytes, folder });
      for (const [i, value] of part.entries()) {
        const { buffer, byteOffset, byteLength } = results[`value_${i}`]!.data;
        folded.set(value, { location: FOLDED, offset, length: byteLength });
        await out.writeFile(new Uint8Array(buffer, byteOffset, byteLength));
        const padding = -byteLength & (PAGE - 1);
        await out.writeFile(new Uint8Array(padding));
        offset += byteLength + padding;
      }
    }
  } finally {
    await out.close();
  }
  return folded;
}

/** Values in groups of about PART bytes, or of one that is larger. */
function* parts(values: readonly Value[]): Generator<Value[]> {
  let part: Value[] = [];
  let size = 0;
  for (const value of values) {
    const bytes = bytesOfValue(value);
    if (size + bytes > PART && part.length > 0) {
      yield part;
      [part, size] = [[], 0];
    }
    part.push(value);
    size += bytes;
  }
  if (part.length > 0) {
    yield part;
  }
}

/** A prepared network, with grafts beside its weights, which stay mapped. */
async function openModel(folder: string, grafts: readonly Graft[]): Promise<ort.InferenceSession> {
  const options = { ...CPU.options, graphOptimizationLevel: "disabled", logSeverityLevel: ERRORS_ONLY } as const;
  const file = join(folder, MODEL);
  if (grafts.length === 0) {
    return ort.InferenceSession.create(file, options);
  }
  const bytes = graft(await readFile(file), grafts);
  // An arena would keep what a step with adapters takes beside what the plain form's keeps, for as long as the worker lives.
  return create({ bytes, folder }, { ...options, enableCpuMemArena: false });
}

function sessionOf(session: ort.InferenceSession): Session {
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
