/** The thread that computes one share of every batch: a session's run blocks the thread that it is on. */
import { parentPort, workerData } from "node:worker_threads";
import type { Graph } from "../../src/models/graph.ts";
import type { Tensor } from "../../src/onnx/tensor.ts";
import { CPU, openSession } from "../runtime/runtime.ts";

/** What the thread is given once. Parameters and gradients are memory that it shares with the optimiser's thread. */
export interface TurnShare {
  /** A step over the share's rows: src/training/loss.ts. */
  readonly graph: Graph;
  readonly parameters: Readonly<Record<string, Tensor>>;
  /** By the graph's output names. */
  readonly gradients: Readonly<Record<string, Tensor>>;
  /** Threads within one operator. */
  readonly threads: number;
}
/** The share's rows of a batch; null = let go of everything. */
export type ToShare = Readonly<Record<string, Tensor>> | null;
/** "ready" once, then the loss of each batch, when its gradients are written. */
export type FromShare = "ready" | number;

const port = parentPort!;
const { graph, parameters, gradients, threads } = workerData as TurnShare;
const send = (message: FromShare) => port.postMessage(message);

const session = await openSession(graph, { ...CPU, options: { ...CPU.options, intraOpNumThreads: threads } });
port.on("message", async (rows: ToShare) => {
  if (rows === null) {
    await session.release();
    port.close();
    return;
  }
  const { loss } = await session.run({ ...rows, ...parameters }, gradients);
  send(Number(loss!.data[0]));
});
send("ready");
