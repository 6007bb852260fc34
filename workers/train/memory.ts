/** Whether a training fits in memory, known before anything of it is loaded. */
import { totalmem } from "node:os";
import type { Computation } from "../../src/onnx/build.ts";
import { stepMemory } from "../../src/training/memory.ts";

/** Bytes that a training needs at most, as far as its graph tells: within a fifth of what was measured (docs/training.md). */
export interface MemoryNeed {
  /** Parameters, gradients, moments, and the average that is kept. */
  readonly state: number;
  /** Of the locked networks. */
  readonly weights: number;
  readonly activations: number;
}

/** The training needs more memory than it may have. */
export class MemoryError extends Error {
  override readonly name = "MemoryError";
}

/** The runtime folds weights into the form that its kernels read while it still holds the one that they come in. */
const WEIGHT_FORMS = 2;
/** The first run takes memory piece by piece; from the second on, all of it lies in one block beside these pieces. */
const ACTIVATION_FORMS = 2;

/**
 * @param step of one share of a batch
 * @param pictured bytes of weights that pictures are made with meanwhile
 */
export function memoryNeed(
  step: Computation,
  { parameters, shares, ema_decay }: { parameters: number; shares: number; ema_decay: number },
  pictured: number,
): MemoryNeed {
  const { weights, activations } = stepMemory(step);
  const copies = 4 + shares + (ema_decay > 0 ? 1 : 0);
  return {
    state: copies * parameters * Float32Array.BYTES_PER_ELEMENT,
    weights: WEIGHT_FORMS * (shares * weights + pictured),
    activations: ACTIVATION_FORMS * shares * activations,
  };
}

export const totalOf = ({ state, weights, activations }: MemoryNeed) => state + weights + activations;

const shown = (bytes: number) => (bytes < 1e9 ? `${Math.ceil(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(1)} GB`);

/** How much it is, in words. */
export function describeNeed(need: MemoryNeed): string {
  const { state, weights, activations } = need;
  const parts = `${shown(state)} for the parameters and their optimizer, ${shown(weights)} for the locked networks, ${shown(activations)} for what a step computes`;
  return `about ${shown(totalOf(need))} of memory: ${parts}`;
}

/** @param budget MEMORY_BUDGET; undefined = what this process may have. @throws MemoryError when a training needs more */
export function requireMemory(need: MemoryNeed, budget: number | undefined): void {
  const limit = process.constrainedMemory();
  const most = budget ?? Math.min(limit > 0 ? limit : Number.POSITIVE_INFINITY, totalmem());
  if (totalOf(need) <= most) return;
  const allowed = budget === undefined ? `${shown(most)} are there` : `MEMORY_BUDGET allows ${shown(most)}`;
  throw new MemoryError(
    `it needs ${describeNeed(need)}; ${allowed}. A smaller resolution or train_batch_size takes less for a step`,
  );
}
