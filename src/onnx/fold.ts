import { inputsFirst, madeOf } from "./order.ts";
import type { Value } from "./value.ts";

/**
 * Constant folding, for a runtime that would hold every stage of all weights at once: the values that follow from weights
 * alone and are read by what does not. Each can be computed apart from the others and be stored in its place (see build()).
 */
export function foldable(outputs: readonly Value[]): Value[] {
  const isFixed = new Map<Value, boolean>();
  const isStored = new Map<Value, boolean>(); // in a file, or made of what is
  const found = new Set<Value>();
  const read = (value: Value) => {
    if (isFixed.get(value) && isStored.get(value)) {
      found.add(value);
    }
  };
  for (const value of inputsFirst(outputs, (one) => isFixed.has(one))) {
    const { source } = value;
    const inputs = madeOf(value);
    const isExternal = source.kind === "initializer" && !(source.data instanceof Uint8Array);
    isFixed.set(value, source.kind !== "input" && inputs.every((input) => isFixed.get(input)));
    isStored.set(value, isExternal || inputs.some((input) => isStored.get(input)));
    if (!isFixed.get(value)) {
      inputs.forEach(read);
    }
  }
  outputs.forEach(read);
  return [...found];
}
