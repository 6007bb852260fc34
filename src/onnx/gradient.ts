/** Reverse-mode differentiation: the gradient of a graph is a graph too. */
import { rules } from "./gradient-rules.ts";
import { add, expand, reduceSum, reshape } from "./operators.ts";
import { madeOf } from "./order.ts";
import { constant, type Node, ShapeError, sameShape, show, type Value } from "./value.ts";

/**
 * Gradients of `loss` (one number, shape []) with respect to each of `wrt`, each of its value's shape. Nothing is computed
 * toward values that none of them goes into, and a value that the loss does not depend on has a gradient of zeros.
 * All sizes must be known: build the graph for one batch size, height and width.
 * @throws ShapeError for a size that is not known or does not fit, Error for an operator without a rule.
 */
export function gradient(loss: Value, wrt: readonly Value[]): Value[] {
  if (loss.shape.length !== 0) {
    throw new ShapeError(`gradient: the loss has the shape ${show(loss.shape)}, not []`);
  }
  const { order, depends } = dependents(loss, new Set(wrt));
  const gradients = new Map<Value, Value>([[loss, constant("float32", [], [1])]]);
  for (const node of order.reverse()) {
    const rule = rules[node.op as keyof typeof rules];
    if (rule === undefined) {
      throw new Error(`gradient: no rule for the operator ${node.op}`);
    }
    const outgoing = node.outputs.map((output) => gradients.get(output) ?? null);
    const incoming = rule(node, outgoing);
    node.inputs.forEach((input, i) => {
      const part = incoming[i] ?? null;
      if (input === null || part === null || !depends.has(input)) {
        return;
      }
      const fitted = fit(part, input.shape as readonly number[]);
      const sum = gradients.get(input);
      gradients.set(input, sum === undefined ? fitted : add(sum, fitted));
    });
  }
  return wrt.map((value) => gradients.get(value) ?? expand(constant("float32", [], [0]), value.shape as number[]));
}

/**
 * Broadcasting undone: a gradient of a result's shape summed over the axes along which its operand was repeated, or one
 * that is the same along an axis repeated to the operand's shape.
 */
function fit(gradient: Value, shape: readonly number[]): Value {
  if (sameShape(gradient.shape, shape)) {
    return gradient;
  }
  const extra = gradient.shape.length - shape.length;
  const repeated = gradient.shape.flatMap((dim, i) => (i < extra || (shape[i - extra] === 1 && dim !== 1) ? [i] : []));
  const summed = repeated.length > 0 ? reduceSum(gradient, repeated) : gradient;
  const ranked = extra > 0 ? reshape(summed, summed.shape.slice(extra)) : summed;
  return sameShape(ranked.shape, shape) ? ranked : expand(ranked, shape);
}

/** The values that `loss` depends on and that depend on one of `wrt`; and the nodes that make them, inputs first. */
function dependents(loss: Value, wrt: ReadonlySet<Value>): { order: Node[]; depends: Set<Value> } {
  const depends = new Set<Value>();
  const order = new Set<Node>();
  const visited = new Set<Value>();
  // Depth first without recursion: a value is finished when it is met the second time. Not by inputsFirst (order.ts), whose order would
  // sum parts of a gradient otherwise, and so round them otherwise.
  const stack = [loss];
  while (stack.length > 0) {
    const value = stack.pop()!;
    const { source } = value;
    const inputs = madeOf(value);
    if (!visited.has(value)) {
      visited.add(value);
      stack.push(value, ...inputs.filter((input) => !visited.has(input)));
    } else if (value.dtype === "int64") {
      // Sizes and indices: nothing differentiable goes through them.
    } else if (wrt.has(value) || inputs.some((input) => depends.has(input))) {
      depends.add(value);
      if (source.kind === "node" && inputs.some((input) => depends.has(input))) {
        order.add(source);
      }
    }
  }
  return { order: [...order], depends };
}
