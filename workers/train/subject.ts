import type { Pixels } from "../../src/image/pixels.ts";
import type { Graph } from "../../src/models/graph.ts";
import type { Tensor } from "../../src/onnx/tensor.ts";
import type { TrainingSettings } from "../../src/schema/training-request.ts";
import type { BatchDraw } from "../../src/training/draws.ts";
import type { BatchSize } from "../../src/training/loss.ts";
import type { Block } from "../../src/training/parameters.ts";
import type { MemoryNeed } from "./memory.ts";

/** Where a training reads and writes. */
export interface Folders {
  /** A base model in the diffusers layout. */
  readonly base: string;
  readonly dataset: string;
  /** The finished network's folder; nothing is written there before the end. */
  readonly output: string;
  /** Caches, and what a killed training goes on from. */
  readonly work: string;
  /** A JSON list of prompts and hints to show the training's progress with; null = none. */
  readonly validation: string | null;
}

/** What is trained: a ControlNet, a base or a VAE, with its data. */
export interface Subject {
  /** Pairs, or pictures, in the dataset. */
  readonly count: number;
  /** The parameters before the first step. */
  start(): Block;
  /** The graph of a step over parameters of these shapes: src/training/loss.ts. */
  graph(parameters: Block, size: BatchSize): Graph;
  /** A batch as the graph's inputs. */
  feeds(draw: BatchDraw): Promise<Record<string, Tensor>>;
  /** Writes the trained network, whole or not at all. */
  save(parameters: Block): Promise<void>;
  /**
   * Pictures that the parameters make, from number `from`, as far as `signal` lets it; absent where there is nothing to
   * compare them with.
   */
  show?(parameters: Block, from: number, signal: Signal): AsyncIterable<Pixels>;
}

/** Says whether to stop. */
export type Signal = Pick<AbortSignal, "aborted">;

/** Hears what is being done before the first step, with how much of how much. */
export type OnPreparing = (what: string, done: number, total: number) => void;

/** Who is told of a training before its first step. */
export interface Preparing {
  readonly onPreparing: OnPreparing;
  /** Hears how much memory it needs; throws when that is too much. Absent = nobody asks. */
  readonly onMemory?: (need: MemoryNeed) => void;
}

/** Reads and checks everything that can be known before the first step. */
export type OpenSubject = (folders: Folders, settings: TrainingSettings, preparing: Preparing) => Promise<Subject>;
