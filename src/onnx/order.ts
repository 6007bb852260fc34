import type { Value } from "./value.ts";

/** What a value is made of. */
export const madeOf = ({ source }: Value): readonly Value[] =>
  source.kind === "node" ? source.inputs.filter((from) => from !== null) : [];

/**
 * Values that are not done, each behind what it is made of. Depth first without recursion: a U-Net's longest path is some thousand
 * nodes.
 * @param isDone whoever goes through them sees to it that a value is done when the next one is asked for
 * @param isGiven what a value is made of is not asked for
 */
export function* inputsFirst(
  roots: readonly Value[],
  isDone: (value: Value) => boolean,
  isGiven: (value: Value) => boolean = () => false,
): Generator<Value> {
  const stack = [...roots];
  while (stack.length > 0) {
    const value = stack.at(-1)!;
    const missing = isDone(value) || isGiven(value) ? [] : madeOf(value).filter((from) => !isDone(from));
    if (missing.length > 0) {
      stack.push(...missing);
      continue;
    }
    stack.pop();
    if (!isDone(value)) yield value;
  }
}
