/** What a training step needs of memory, read off its graph before anything is loaded. */
import type { Computation } from "../onnx/build.ts";
import { ELEMENT_BYTES, type Node, type Value } from "../onnx/value.ts";

/** Bytes that the runtime holds for a graph beside its inputs and outputs. */
export interface StepMemory {
  /** The weights, in every form in which a node reads them: they are made ready once. */
  readonly weights: number;
  /** The most that what is computed takes at one time. */
  readonly activations: number;
}

const bytesOf = ({ dtype, shape }: Value) =>
  ELEMENT_BYTES[dtype] * (shape as readonly number[]).reduce((product, dim) => product * dim, 1);

/** Operators whose output is the input's memory. */
const ALIASES = new Set(["Reshape", "Identity"]);

/** The nodes that make `outputs`, each behind those whose outputs it reads. */
function inOrder(outputs: readonly Value[]): Node[] {
  const order = new Set<Node>();
  const stack = [...outputs].reverse();
  while (stack.length > 0) {
    const { source } = stack.at(-1)!;
    if (source.kind !== "node" || order.has(source)) {
      stack.pop();
      continue;
    }
    const missing = source.inputs.filter((value) => value?.source.kind === "node" && !order.has(value.source));
    if (missing.length === 0) order.add(source);
    else stack.push(...(missing as Value[]));
  }
  return [...order];
}

/** Values that follow from weights alone. */
function constantsOf(order: readonly Node[]): (value: Value) => boolean {
  const made = new Set<Value>();
  const isConstant = (value: Value) => value.source.kind === "initializer" || made.has(value);
  for (const { inputs, outputs } of order) {
    if (inputs.every((value) => value === null || isConstant(value))) for (const output of outputs) made.add(output);
  }
  return isConstant;
}

/**
 * Follows a graph node by node: a value lives until the last node that reads it has run. All sizes must be known. Outputs are left
 * out: whoever runs it gives the memory for them.
 */
export function stepMemory({ outputs }: Computation): StepMemory {
  const results = Object.values(outputs);
  const order = inOrder(results);
  const isConstant = constantsOf(order);
  const running = order.filter((node) => !node.outputs.some(isConstant));
  const roots = aliases(running);
  const reads = (node: Node) => node.inputs.flatMap((value) => (value === null ? [] : [roots.get(value) ?? value]));
  const held = new Set<Value>();
  const uses = new Map<Value, number>();
  for (const value of running.flatMap(reads)) {
    if (isConstant(value)) held.add(value);
    else uses.set(value, (uses.get(value) ?? 0) + 1);
  }
  const given = new Set(results.map((value) => roots.get(value) ?? value));
  const size = (value: Value) => (value.source.kind === "node" && !given.has(value) ? bytesOf(value) : 0);
  let live = 0;
  let activations = 0;
  for (const node of running) {
    if (!ALIASES.has(node.op)) for (const output of node.outputs) live += size(output);
    activations = Math.max(activations, live);
    for (const value of reads(node)) {
      const left = (uses.get(value) ?? 0) - 1;
      uses.set(value, left);
      if (left === 0) live -= size(value);
    }
  }
  return { weights: [...held].reduce((sum, value) => sum + bytesOf(value), 0), activations };
}

/** The value whose memory another one is, by the other one. */
function aliases(nodes: readonly Node[]): Map<Value, Value> {
  const roots = new Map<Value, Value>();
  for (const { op, inputs, outputs } of nodes) {
    if (ALIASES.has(op)) roots.set(outputs[0]!, roots.get(inputs[0]!) ?? inputs[0]!);
  }
  return roots;
}
