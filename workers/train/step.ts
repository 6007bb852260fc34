/** A training step as it runs: the graph on threads of its own (share.ts), the optimiser on arrays beside it. */
import { once } from "node:events";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import type { Graph } from "../../src/models/graph.ts";
import type { Tensor } from "../../src/onnx/tensor.ts";
import { type AdamWSettings, adamw, clipNorm, type Moments, moveAverage } from "../../src/training/adamw.ts";
import { gradientOf } from "../../src/training/loss.ts";
import { type Block, block } from "../../src/training/parameters.ts";
import type { FromShare, ToShare, TurnShare } from "./share.ts";

export interface OptimizerSettings extends AdamWSettings {
  readonly max_grad_norm: number;
  /** 0 keeps no average. */
  readonly ema_decay: number;
}

/** All that a step changes. */
export interface TrainingState {
  readonly parameters: Block;
  readonly moments: Moments;
  /** The parameters' moving average; null when none is kept. */
  readonly average: Block | null;
}

/** Each share holds the locked weights once more: up to this many parameters that is little beside the activations. */
const SHARED_UP_TO = 100e6;

/**
 * How many equal shares of a batch are computed side by side, each by one thread: 1.2 to 1.5 times as fast as one whose
 * operators use two threads, because small networks have small operators (measured with the demo's U-Net, 2 cores).
 */
export function countShares(batch: number, parameters: number): number {
  const most = parameters > SHARED_UP_TO ? 1 : Math.min(batch, availableParallelism());
  return Array.from({ length: most }, (_, i) => most - i).find((count) => batch % count === 0)!;
}

interface Thread {
  readonly worker: Worker;
  readonly gradients: Block;
}

/** Carries the steps of a training out: gradients of batches, then an update with their mean. */
export class Stepper {
  readonly state: TrainingState;
  /** The sum over the batches since the last update. */
  readonly gradients: Block;
  readonly #threads: readonly Thread[];
  #batches = 0;

  private constructor(threads: readonly Thread[], state: TrainingState, gradients: Block) {
    this.#threads = threads;
    this.state = state;
    this.gradients = gradients;
  }

  /**
   * @param graph a step of src/training/loss.ts for so many rows, over exactly the parameters of `state`
   * @param batch rows of every batch
   */
  static async open(graph: (rows: number) => Graph, batch: number, state: TrainingState): Promise<Stepper> {
    const { tensors, data } = state.parameters;
    const shapes = new Map([...tensors].map(([name, { dims }]) => [name, dims]));
    const count = countShares(batch, data.length);
    const share = {
      graph: graph(batch / count),
      parameters: Object.fromEntries(tensors),
      threads: Math.ceil(availableParallelism() / count),
    };
    const threads = Array.from({ length: count }, (): Thread => {
      const gradients = block(shapes);
      const named = Object.fromEntries([...gradients.tensors].map(([name, tensor]) => [gradientOf(name), tensor]));
      const workerData: TurnShare = { ...share, gradients: named };
      return { worker: new Worker(join(import.meta.dirname, "share.ts"), { workerData }), gradients };
    });
    await Promise.all(threads.map(({ worker }) => once(worker, "message"))); // rejects when the thread fails
    return new Stepper(threads, state, block(shapes));
  }

  /** The loss of one batch; its gradients are added to those of the batches since the last update. */
  async accumulate(batch: Readonly<Record<string, Tensor>>): Promise<number> {
    const count = this.#threads.length;
    const losses = await Promise.all(
      this.#threads.map(async ({ worker }, i): Promise<number> => {
        worker.postMessage(part(batch, i, count) satisfies ToShare);
        const [loss] = (await once(worker, "message")) as [FromShare];
        return loss as number;
      }),
    );
    const sum = this.gradients.data;
    for (const { gradients } of this.#threads) {
      const added = gradients.data;
      for (let i = 0; i < sum.length; i++) {
        sum[i]! += added[i]! / count;
      }
    }
    this.#batches += 1;
    return losses.reduce((total, loss) => total + loss, 0) / count;
  }

  /** One step of the optimiser with the mean gradient; `step` counts from 1. Returns the gradient's norm. */
  update(step: number, settings: OptimizerSettings): number {
    const { parameters, moments, average } = this.state;
    const gradient = this.gradients.data;
    if (this.#batches > 1) {
      for (let i = 0; i < gradient.length; i++) {
        gradient[i]! /= this.#batches;
      }
    }
    const norm = clipNorm(gradient, settings.max_grad_norm);
    adamw(parameters.data, gradient, moments, step, settings);
    if (average !== null) {
      moveAverage(average.data, parameters.data, settings.ema_decay);
    }
    gradient.fill(0);
    this.#batches = 0;
    return norm;
  }

  /** However a training ends, its threads end with it. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.release();
  }

  async release(): Promise<void> {
    await Promise.all(
      this.#threads.map(async ({ worker }) => {
        worker.postMessage(null satisfies ToShare);
        await once(worker, "exit");
      }),
    );
  }
}

/** Share `index` of `count` of a batch's rows: the first axis of every tensor. */
function part(batch: Readonly<Record<string, Tensor>>, index: number, count: number): Record<string, Tensor> {
  return Object.fromEntries(
    Object.entries(batch).map(([name, { dims, data }]) => {
      const size = data.length / count;
      const rows = data.slice(index * size, (index + 1) * size) as Tensor["data"];
      return [name, { dims: [dims[0]! / count, ...dims.slice(1)], data: rows }];
    }),
  );
}

/** The state before the first step. */
export function startState(parameters: Block, { ema_decay }: Pick<OptimizerSettings, "ema_decay">): TrainingState {
  const { length } = parameters.data;
  const shapes = new Map([...parameters.tensors].map(([name, { dims }]) => [name, dims]));
  const average = ema_decay > 0 ? block(shapes) : null;
  average?.data.set(parameters.data);
  return { parameters, moments: { first: new Float32Array(length), second: new Float32Array(length) }, average };
}
