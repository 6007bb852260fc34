/**
 * One rule per operator: gradients of a node's outputs → gradients of its inputs, null for an input that has none (indices,
 * sizes). A rule need not undo broadcasting, and may make more than is asked for: what nothing uses is never built.
 */
import { attentionGradients } from "./gradient-attention.ts";
import { convGradients } from "./gradient-conv.ts";
import {
  add,
  cast,
  concat,
  cos,
  div,
  erf,
  exp,
  expand,
  matmul,
  matmulTransposed,
  mul,
  pad,
  pow,
  product,
  reduceMean,
  reduceSum,
  reshape,
  scale,
  sigmoid,
  sign,
  sin,
  slice,
  sub,
  transpose,
} from "./operators.ts";
import { constant, node as makeNode, type Node, nodes, ShapeError, scalar, show, type Value } from "./value.ts";

type Rule = (node: Node, gradients: readonly (Value | null)[]) => readonly (Value | null)[];

/** The rule of an operator with one output. */
const one =
  (rule: (node: Node, gradient: Value, inputs: readonly Value[], output: Value) => readonly (Value | null)[]): Rule =>
  (node, [gradient]) =>
    rule(node, gradient!, node.inputs as readonly Value[], node.outputs[0]!);

/** The rule of a function of each element alone, from its input x and output y. */
const each = (derivative: (x: Value, y: Value, node: Node) => Value): Rule =>
  one((node, g, [x], y) => [mul(g, derivative(x!, y, node))]);

const negate = (x: Value) => scale(x, -1);
const plus = (x: Value, number: number) => add(x, scalar(number));
const sizes = (value: Value): readonly number[] => {
  if (value.shape.some((dim) => typeof dim !== "number")) {
    throw new ShapeError(`gradient: ${show(value.shape)} has a size that is not known`);
  }
  return value.shape as readonly number[];
};
const zeros = (like: Value) => expand(scalar(0), sizes(like));

/** The whole numbers of a constant that was written into the graph. */
function integers(value: Value): number[] {
  if (value.source.kind !== "initializer" || !(value.source.data instanceof Uint8Array)) {
    throw new Error("gradient: this operand must be a constant");
  }
  return Array.from(new BigInt64Array(value.source.data.buffer), Number);
}

function float(node: Node, name: string): number {
  return (node.attributes[name] as { float: number }).float;
}

export const rules = {
  Identity: one((_, g) => [g]),
  Add: one((_, g) => [g, g]),
  Sub: one((_, g) => [g, negate(g)]),
  Mul: one((_, g, [a, b]) => [mul(g, b!), mul(g, a!)]),
  Div: one((_, g, [, b], y) => [div(g, b!), negate(div(mul(g, y), b!))]),
  /** Toward the base alone: exponents are constants. */
  Pow: one((_, g, [x, exponent]) => [mul(g, mul(exponent!, pow(x!, sub(exponent!, scalar(1))))), null]),

  Sigmoid: each((_, y) => sub(y, mul(y, y))),
  Sin: each((x) => cos(x)),
  Cos: each((x) => negate(sin(x))),
  Tanh: each((_, y) => sub(scalar(1), mul(y, y))),
  Exp: each((_, y) => y),
  Abs: each((x) => sign(x)),
  Relu: each((_, y) => sign(y)),
  /** Φ(x) + x·φ(x). */
  Gelu: each((x) => {
    const cumulative = plus(scale(erf(scale(x, Math.SQRT1_2)), 0.5), 0.5);
    const density = scale(exp(scale(mul(x, x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
    return add(cumulative, mul(x, density));
  }),
  /** With s = sigmoid(αx) and y = x·s: s·(1 + αx·(1 - s)) = s·(1 + α·(x - y)). */
  QuickGelu: each((x, y, node) => {
    const alpha = float(node, "alpha");
    const rest = sub(x, y);
    return mul(sigmoid(alpha === 1 ? x : scale(x, alpha)), plus(alpha === 1 ? rest : scale(rest, alpha), 1));
  }),

  MatMul: one((_, g, [a, b]) => {
    const toA = matmul(g, swapLast(b!));
    if (b!.shape.length > 2) {
      return [toA, matmul(swapLast(a!), g)];
    }
    return [toA, matmulTransposed(rows(a!), rows(g))];
  }),
  Softmax: one((_, g, __, y) => {
    const weighted = mul(g, y);
    return [sub(weighted, mul(y, reduceSum(weighted, [y.shape.length - 1])))];
  }),
  /** Ba et al. 2016 (arXiv 1607.06450); over the last axis. */
  LayerNormalization: one((node, g, [x, weight]) => {
    const last = x!.shape.length - 1;
    const unit = [constant("float32", [1], [1]), constant("float32", [1], [0])];
    const statistic = { dtype: x!.dtype, shape: [...x!.shape.slice(0, last), 1] };
    const [normal, , inverseDeviation] = nodes("LayerNormalization", [x!, ...unit], [x!, statistic, statistic], {
      attributes: node.attributes,
    }) as [Value, Value, Value];
    const toNormal = isOne(weight!) ? g : mul(g, weight!);
    const product = mul(toNormal, normal);
    const centred = sub(toNormal, reduceMean(toNormal, [last]));
    const toX = mul(sub(centred, mul(normal, reduceMean(product, [last]))), inverseDeviation);
    return [toX, mul(g, normal), g];
  }),
  Conv: one(convGradients),
  MultiHeadAttention: one(attentionGradients),

  Reshape: one((_, g, [x]) => [reshape(g, sizes(x!)), null]),
  Transpose: one(({ attributes }, g) => {
    const perm = attributes.perm as readonly number[];
    return [
      transpose(
        g,
        perm.map((_, axis) => perm.indexOf(axis)),
      ),
    ];
  }),
  Expand: one((_, g) => [g, null]),
  Cast: one((_, g, [x]) => [cast(g, x!.dtype)]),
  Concat: one(({ attributes }, g, inputs) => {
    const axis = attributes.axis as number;
    let end = 0;
    return inputs.map((input) => {
      const start = end;
      end += sizes(input)[axis]!;
      return slice(g, axis, start, end);
    });
  }),
  Split: (node, gradients) => [
    concat(
      gradients.map((g, i) => g ?? zeros(node.outputs[i]!)),
      node.attributes.axis as number,
    ),
  ],
  Slice: one((_, g, [x, starts, ends, axes]) => {
    const before = sizes(x!).map(() => 0);
    const after = [...before];
    integers(axes!).forEach((axis, i) => {
      before[axis] = integers(starts!)[i]!;
      after[axis] = sizes(x!)[axis]! - integers(ends!)[i]!;
    });
    return [pad(g, before, after)];
  }),
  Pad: one((_, g, [x, pads]) => {
    const before = integers(pads!);
    return [sizes(x!).reduce((part, size, axis) => slice(part, axis, before[axis]!, before[axis]! + size), g)];
  }),
  /** Rows that were taken more than once collect a sum. */
  Gather: one((_, g, [table, indices]) => {
    const at = reshape(indices!, [...sizes(indices!), 1]);
    const attributes = { reduction: "add" };
    return [makeNode("ScatterND", [zeros(table!), at, g], table!.shape, { attributes }), null];
  }),
  ReduceMean: one((_, g, [x], y) => [
    expand(scale(g, (product(y.shape) as number) / (product(sizes(x!)) as number)), sizes(x!)),
  ]),
  ReduceSum: one((_, g, [x]) => [expand(g, sizes(x!))]),
  /** Nearest-neighbour enlargement by a whole number: each pixel collects the sum of its copies. */
  Resize: one((_, g, [x]) => {
    const factors = [2, 3].map((axis) => sizes(g)[axis]! / sizes(x!)[axis]!);
    if (!factors.every(Number.isInteger)) {
      throw new ShapeError(`gradient: ${show(g.shape)} is not a whole multiple of ${show(x!.shape)}`);
    }
    const attributes = { kernel_shape: factors, strides: factors };
    return [scale(makeNode("AveragePool", [g], x!.shape, { attributes }), factors[0]! * factors[1]!)];
  }),
} satisfies Record<string, Rule>;

function swapLast(x: Value): Value {
  const axes = x.shape.map((_, i) => i);
  return transpose(x, [...axes.slice(0, -2), axes.at(-1)!, axes.at(-2)!]);
}

/** [..., C] as [rows, C]. */
const rows = (x: Value) =>
  x.shape.length === 2 ? x : reshape(x, [product(sizes(x).slice(0, -1)), x.shape.at(-1) as number]);

/** The ones with which a GroupNorm's inner normalization leaves its values as they are. */
function isOne({ shape, source }: Value): boolean {
  if (source.kind === "node") {
    return source.op === "Expand" && isOne(source.inputs[0]!);
  }
  return (
    source.kind === "initializer" &&
    shape[0] === 1 &&
    source.data instanceof Uint8Array &&
    new Float32Array(source.data.buffer)[0] === 1
  );
}
