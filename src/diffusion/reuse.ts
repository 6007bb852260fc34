/**
 * What an evaluation takes from the ones before it instead of computing it anew, for speed at a price: DeepCache's deep features
 * (arXiv 2312.00858, src/models/shallow.ts) and the ControlNets' residuals. Which evaluations compute what follows from the
 * request and the evaluation's number alone.
 */
import type { Tensor } from "../onnx/tensor.ts";
import type { Speed } from "../schema/speed.ts";
import type { Residuals } from "./control.ts";

/** What one picture keeps between evaluations. */
export interface Kept {
  /** What came to the branch from below in the last whole evaluation; null = none yet. */
  readonly deep: Tensor | null;
  /** The ControlNets' sum, and which hints of each it is of; null = none yet. */
  readonly controlled: { readonly open: readonly (readonly number[])[]; readonly residuals: Residuals } | null;
}

export const NOTHING_KEPT: Kept = { deep: null, controlled: null };

type Asked = Pick<Speed, "cache" | "control_interval">;

/** Whether the whole U-Net runs at evaluation `step`. */
export const isWhole = ({ cache }: Asked, step: number): boolean => step % (cache?.interval ?? 1) === 0;

/** Whether the ControlNets run at evaluation `step` whatever is kept. */
export const isControlled = ({ control_interval: interval }: Asked, step: number): boolean => step % interval === 0;

/** How many of the residuals are needed from this evaluation up to the next that computes them anew: all, or the first few. */
export function residualsNeeded(asked: Asked, step: number): number {
  if (asked.cache === null) return Number.POSITIVE_INFINITY;
  let next = step;
  do {
    if (isWhole(asked, next)) return Number.POSITIVE_INFINITY;
    next++;
  } while (!isControlled(asked, next));
  return asked.cache.branch + 1;
}

/** Whether nothing that is kept is needed at evaluation `step`: from there another worker can go on. */
export const isFresh = (asked: Asked, step: number): boolean => isWhole(asked, step) && isControlled(asked, step);
