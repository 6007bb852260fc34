/** A training step as it runs: the graph on the runtime, the optimiser on arrays beside it. */

import type { Graph } from "../../src/models/graph.ts";
import type { Tensor } from "../../src/onnx/tensor.ts";
import { type AdamWSettings, adamw, clipNorm, type Moments, moveAverage } from "../../src/training/adamw.ts";
import { gradientOf } from "../../src/training/loss.ts";
import { type Block, block } from "../../src/training/parameters.ts";
import { openSession, type Provider, type Session } from "../runtime.ts";

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

export class Trainer {
  readonly state: TrainingState;
  readonly gradients: Block;
  readonly #session: Session;
  readonly #into: Record<string, Tensor>;
  readonly #collected: Float32Array;
  #batches = 0;

  private constructor(session: Session, state: TrainingState) {
    const shapes = new Map([...state.parameters.tensors].map(([name, { dims }]) => [name, dims]));
    this.state = state;
    this.gradients = block(shapes);
    this.#session = session;
    this.#into = Object.fromEntries([...this.gradients.tensors].map(([name, tensor]) => [gradientOf(name), tensor]));
    this.#collected = new Float32Array(this.gradients.data.length);
  }

  /** `graph` is a step of src/training/loss.ts over exactly the parameters of `state`. */
  static async open(graph: Graph, state: TrainingState, provider: Provider): Promise<Trainer> {
    return new Trainer(await openSession(graph, provider), state);
  }

  /** The loss of one batch; its gradients are added to those of the batches since the last update. */
  async accumulate(batch: Readonly<Record<string, Tensor>>): Promise<number> {
    const feeds = { ...batch, ...Object.fromEntries(this.state.parameters.tensors) };
    const { loss } = await this.#session.run(feeds, this.#into);
    const [sum, added] = [this.#collected, this.gradients.data];
    for (let i = 0; i < sum.length; i++) {
      sum[i]! += added[i]!;
    }
    this.#batches += 1;
    return Number(loss!.data[0]);
  }

  /** One step of the optimiser with the mean gradient; `step` counts from 1. Returns the gradient's norm. */
  update(step: number, settings: OptimizerSettings): number {
    const { parameters, moments, average } = this.state;
    const gradient = this.#collected;
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

  release(): Promise<void> {
    return this.#session.release();
  }
}

/** The state before the first step. */
export function startState(parameters: Block, { ema_decay }: Pick<OptimizerSettings, "ema_decay">): TrainingState {
  const { length } = parameters.data;
  const shapes = new Map([...parameters.tensors].map(([name, { dims }]) => [name, dims]));
  const average = ema_decay > 0 ? block(shapes) : null;
  average?.data.set(parameters.data);
  return { parameters, moments: { first: new Float32Array(length), second: new Float32Array(length) }, average };
}
