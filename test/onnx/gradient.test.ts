import assert from "node:assert/strict";
import { test } from "node:test";
import { attention } from "../../src/onnx/attention.ts";
import { build } from "../../src/onnx/build.ts";
import { gradient } from "../../src/onnx/gradient.ts";
import * as op from "../../src/onnx/operators.ts";
import type { Tensor } from "../../src/onnx/tensor.ts";
import { constant, input, ShapeError, type Value } from "../../src/onnx/value.ts";
import { CPU, openSession } from "../../workers/runtime/runtime.ts";

/** Numbers in -1 … 1, the same ones each time, none of them near 0, where |x| and ReLU bend. */
function numbers(count: number, seed: number): Float32Array {
  let state = seed;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const unit = state / 2 ** 31 - 1;
    return unit + Math.sign(unit) * 0.1;
  });
}

const size = (shape: readonly number[]) => shape.reduce((product, dim) => product * dim, 1);
const sumOf = (x: Value) =>
  op.reshape(
    op.reduceSum(
      x,
      x.shape.map((_, i) => i),
    ),
    [],
  );

/** A step that float32 can add exactly, with truncation (h²) and rounding (2⁻²⁴ / h) errors of some 1e-4 and 1e-6. */
const STEP = 2 ** -7;

/**
 * Compares the gradient of a weighted sum of `f`'s results with central differences, element by element. The sum is made in
 * double precision, so that only the operator itself rounds.
 */
async function compare(shapes: readonly (readonly number[])[], f: (...inputs: Value[]) => Value, offset = 0) {
  const inputs = shapes.map((shape, i) => input(`x${i}`, "float32", shape));
  const tensors = shapes.map((dims, i) => ({ dims, data: numbers(size(dims), i + 1).map((x) => x + offset) }));
  const y = f(...inputs);
  const weights = numbers(size(y.shape as number[]), 99);
  const loss = sumOf(op.mul(y, constant("float32", y.shape as number[], weights)));
  const outputs = Object.fromEntries(gradient(loss, inputs).map((value, i) => [`g${i}`, value]));
  const feeds = Object.fromEntries(tensors.map((tensor, i) => [`x${i}`, tensor as Tensor]));

  const forward = await openSession({ bytes: build(inputs, { y }), folder: "." }, CPU);
  const backward = await openSession({ bytes: build(inputs, outputs), folder: "." }, CPU);
  const results = await backward.run(feeds);
  const weigh = async () => {
    const { data } = (await forward.run(feeds)).y!;
    return weights.reduce((sum, weight, i) => sum + weight * Number(data[i]), 0);
  };
  for (const [i, { dims, data }] of tensors.entries()) {
    const actual = results[`g${i}`]!;
    assert.deepEqual(actual.dims, dims, `gradient toward operand ${i}`);
    const differences = new Float64Array(data.length);
    for (let j = 0; j < data.length; j++) {
      const value = data[j]!;
      data[j] = value + STEP;
      const above = await weigh();
      data[j] = value - STEP;
      differences[j] = (above - (await weigh())) / (2 * STEP);
      data[j] = value;
    }
    const largest = Math.max(...differences.map(Math.abs));
    assert.ok(largest > 0.01, `operand ${i} must matter, or the comparison means nothing`);
    differences.forEach((expected, j) => {
      const error = Math.abs(Number(actual.data[j]) - expected) / largest;
      assert.ok(error < 1e-3, `operand ${i}, element ${j}: ${actual.data[j]}, but the differences give ${expected}`);
    });
  }
  await forward.release();
  await backward.release();
}

const cases: Record<string, () => Promise<void>> = {
  "Add, broadcast on both sides": () =>
    compare(
      [
        [2, 1, 3],
        [4, 1],
      ],
      op.add,
    ),
  "Sub, broadcast on both sides": () =>
    compare(
      [
        [2, 1, 3],
        [4, 1],
      ],
      op.sub,
    ),
  "Mul, broadcast on both sides": () =>
    compare(
      [
        [2, 1, 3],
        [4, 1],
      ],
      op.mul,
    ),
  "Div, broadcast on both sides": () =>
    compare(
      [
        [2, 1, 3],
        [4, 1],
      ],
      op.div,
      2.5,
    ),
  "Pow with a constant exponent": () => compare([[5]], (x) => op.pow(x, constant("float32", [], [3]))),
  "a value used twice": () => compare([[3], [2, 3]], (a, b) => op.mul(op.add(a!, b!), a!)),
  Sigmoid: () => compare([[7]], op.sigmoid),
  Sin: () => compare([[7]], op.sin),
  Cos: () => compare([[7]], op.cos),
  Tanh: () => compare([[7]], op.tanh),
  Exp: () => compare([[7]], op.exp),
  Abs: () => compare([[7]], op.abs),
  Relu: () => compare([[7]], op.relu),
  Gelu: () => compare([[9]], (x) => op.gelu(op.scale(x, 2))),
  SiLU: () => compare([[9]], (x) => op.silu(op.scale(x, 2))),
  "QuickGelu with alpha 1.702": () => compare([[9]], (x) => op.sigmoidLinear(x, 1.702)),
  "MatMul with a matrix that rows share": () =>
    compare(
      [
        [2, 3, 4],
        [4, 5],
      ],
      op.matmul,
    ),
  "MatMul in batches": () =>
    compare(
      [
        [2, 1, 3, 4],
        [3, 4, 2],
      ],
      op.matmul,
    ),
  Softmax: () => compare([[3, 5]], op.softmax),
  "LayerNormalization with weight and bias": () =>
    compare([[4, 6], [6], [6]], (x, w, b) => op.layerNorm(x, w, b, 1e-5)),
  "LayerNormalization of a group": () =>
    compare([[2, 3, 8]], (x) => op.layerNorm(x, constant("float32", [1], [1]), constant("float32", [1], [0]), 1e-5)),
  "Conv 3×3": () => compare([[2, 3, 4, 5], [4, 3, 3, 3], [4]], (x, w, b) => op.conv(x, w, b)),
  "Conv 3×3 over a large image": () => compare([[2, 2, 16, 17], [2, 2, 3, 3], [2]], (x, w, b) => op.conv(x, w, b)),
  "Conv 1×1": () => compare([[2, 3, 4, 5], [4, 3, 1, 1], [4]], (x, w, b) => op.conv(x, w, b)),
  "Conv 3×3 with stride 2, even and odd sides": () =>
    compare([[2, 2, 6, 5], [3, 2, 3, 3], [3]], (x, w, b) => op.conv(x, w, b, { stride: 2 })),
  "Conv 3×3 with stride 2 and zeros on one side, as in the VAE": () =>
    compare([[1, 2, 6, 4], [3, 2, 3, 3], [3]], (x, w, b) => op.conv(x, w, b, { stride: 2, pads: [0, 0, 1, 1] })),
  "MultiHeadAttention of itself": () =>
    compare(
      [
        [2, 3, 4],
        [2, 3, 4],
        [2, 3, 4],
      ],
      (q, k, v) => attention(q, k, v, 2),
    ),
  "MultiHeadAttention to another length": () =>
    compare(
      [
        [2, 3, 4],
        [2, 5, 4],
        [2, 5, 4],
      ],
      (q, k, v) => attention(q, k, v, 2),
    ),
  "MultiHeadAttention with a causal mask": () => {
    const mask = [0, -Infinity, -Infinity, 0, 0, -Infinity, 0, 0, 0];
    return compare(
      [
        [2, 3, 4],
        [2, 3, 4],
        [2, 3, 4],
      ],
      (q, k, v) => attention(q, k, v, 2, constant("float32", [1, 1, 3, 3], mask)),
    );
  },
  Reshape: () => compare([[2, 3, 4]], (x) => op.reshape(x, [4, 6])),
  "Reshape to another value's shape": () =>
    compare(
      [
        [2, 6],
        [3, 4],
      ],
      (x, y) => op.mul(op.reshapeLike(x, y), y),
    ),
  Transpose: () => compare([[2, 3, 4]], (x) => op.transpose(x, [2, 0, 1])),
  Expand: () => compare([[3, 1]], (x) => op.expand(x, [2, 3, 4])),
  Concat: () =>
    compare(
      [
        [2, 1, 3],
        [2, 4, 3],
      ],
      (a, b) => op.concat([a, b], 1),
    ),
  Slice: () => compare([[2, 5, 3]], (x) => op.slice(x, 1, 1, 4)),
  Pad: () => compare([[2, 3]], (x) => op.pad(x, [1, 0], [0, 2])),
  "Split with both parts used": () =>
    compare([[2, 6]], (x) => {
      const [a, b] = op.split(x, 2, 1) as [Value, Value];
      return op.mul(a, op.gelu(b));
    }),
  "Split with one part left over": () => compare([[2, 6]], (x) => op.add(op.split(x, 2, 1)[1]!, op.reduceMean(x, [1]))),
  "Gather of rows, one of them twice": () =>
    compare([[4, 3]], (x) => op.add(op.gather(x, constant("int64", [2, 2], [1, 3, 1, 0])), op.reduceSum(x, [0]))),
  ReduceMean: () => compare([[2, 3, 4]], (x) => op.reduceMean(x, [0, 2])),
  ReduceSum: () => compare([[2, 3, 4]], (x) => op.reduceSum(x, [1])),
  "Resize to twice the sides": () => compare([[2, 3, 2, 3]], op.resizeTwice),
  "Resize to another value's sides": () =>
    compare(
      [
        [1, 2, 2, 3],
        [1, 2, 4, 6],
      ],
      (x, y) => op.mul(op.resizeLike(x, y), y),
    ),
};

for (const [name, run] of Object.entries(cases)) {
  test(`the gradient of ${name} agrees with central differences`, run);
}

test("nothing is computed toward values that no asked-for value goes into", () => {
  const [locked, trained] = [input("locked", "float32", [3]), input("trained", "float32", [3])];
  const inner = op.sin(op.mul(locked, locked));
  const [toTrained] = gradient(sumOf(op.mul(inner, trained)), [trained]);
  const text = new TextDecoder("latin1").decode(build([locked, trained], { toTrained: toTrained! }));
  assert.ok(text.includes("Sin"));
  assert.ok(!text.includes("Cos"), "the derivative of Sin is not in the graph");
});

test("a value that the loss does not depend on has a gradient of zeros", async () => {
  const [x, other] = [input("x", "float32", [2]), input("other", "float32", [2, 3])];
  const [g] = gradient(sumOf(x), [other]);
  const session = await openSession({ bytes: build([], { g: g! }), folder: "." }, CPU);
  assert.deepEqual((await session.run({})).g, { dims: [2, 3], data: new Float32Array(6) });
});

test("a size that is not known is refused with the shape it stands in", () => {
  const x = input("x", "float32", ["B", 4]);
  const loss = op.reshape(op.slice(op.reduceMean(x, [0, 1]), 1, 0, 1), []);
  assert.throws(
    () => gradient(loss, [x]),
    (error) => error instanceof ShapeError && /\[B, 4\]/.test(error.message),
  );
});

test("an operator without a rule is named", () => {
  const x = input("x", "float32", []);
  assert.throws(() => gradient(op.erf(x), [x]), /no rule for the operator Erf/);
});
