/** Values that are not finite: of a checkpoint's weights, of half precision that overflows, of a prompt's weights. They end a generation. */
import type { Tensor } from "../onnx/tensor.ts";

/** A network gave values that are not finite. The message says which, and of a step when. */
export class NotFinite extends Error {
  override readonly name = "NotFinite";
  readonly code = "not_finite";

  constructor(what: string, when = "") {
    super(
      `${what} gave values that are not finite${when}: its weights hold some, or the computation overflows with them`,
    );
  }
}

type Values = Tensor | Float32Array | null;

/** Not finite as soon as one value is not: infinities of both signs make a NaN. One addition a value. */
export function allFinite(values: Values): boolean {
  const data = values === null || values instanceof Float32Array ? values : values.data;
  if (!(data instanceof Float32Array)) return true;
  let sum = 0;
  for (let i = 0; i < data.length; i++) sum += data[i]!;
  return Number.isFinite(sum);
}

/** @throws {NotFinite} naming what gave them */
export function checkFinite(what: string, values: readonly Values[], when?: string): void {
  if (!values.every(allFinite)) throw new NotFinite(what, when);
}
