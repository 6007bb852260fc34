import assert from "node:assert/strict";
import { test } from "node:test";
import { build } from "../../src/onnx/build.ts";
import { conv, matmul, transpose } from "../../src/onnx/operators.ts";
import { quantizedConvolution, quantizedProduct } from "../../src/onnx/quantize.ts";
import { constant, input, ShapeError } from "../../src/onnx/value.ts";
import { CPU, openSession } from "../../workers/runtime/runtime.ts";

/** Made-up numbers in -1 … 1 without a pattern. */
const noise = (size: number, seed: number) =>
  Float32Array.from({ length: size }, (_, i) => {
    const x = Math.sin(12.9898 * (i + 1) + 78.233 * seed) * 43758.5453;
    return 2 * (x - Math.floor(x)) - 1;
  });

function relative(a: Float32Array, b: Float32Array): number {
  const square = (values: Float32Array) => values.reduce((sum, value) => sum + value * value, 0);
  return Math.sqrt(square(a.map((value, i) => value - b[i]!)) / square(b));
}

const [T, IN, OUT] = [70, 96, 80];

test("a product in 8 bits is within a hundredth of the exact one, with outputs of very different sizes too", async (t) => {
  const own = noise(OUT * IN, 1).map((value, i) => value * 10 ** ((Math.floor(i / IN) % 5) - 2));
  const weight = constant("float32", [OUT, IN], own);
  const x = input("x", "float32", ["B", "T", IN]);
  const outputs = {
    exact: matmul(x, transpose(weight, [1, 0])),
    int8: quantizedProduct(x, weight, null),
  };
  const session = await openSession({ bytes: build([x], outputs), folder: "." }, CPU);
  const { exact, int8 } = await session.run({ x: { dims: [1, T, IN], data: noise(T * IN, 2) } });
  await session.release();
  const column = (data: Float32Array, o: number) => Float32Array.from({ length: T }, (_, i) => data[i * OUT + o]!);
  const errors = Array.from({ length: OUT }, (_, o) =>
    relative(column(int8!.data as Float32Array, o), column(exact!.data as Float32Array, o)),
  );
  t.diagnostic(`relative error of an output: ${Math.max(...errors).toExponential(1)} at most`);
  assert.ok(Math.max(...errors) < 1.5e-2);
  assert.ok(Math.max(...errors) > 1e-4, "it is not the exact one");
});

test("a weight that is no number spoils the output that it is for, as it does in float32", async () => {
  const values = noise(OUT * IN, 1);
  values[3 * IN + 5] = Number.NaN;
  values[4 * IN + 5] = Number.POSITIVE_INFINITY;
  const x = input("x", "float32", ["T", IN]);
  const y = quantizedProduct(x, constant("float32", [OUT, IN], values), constant("float32", [OUT], noise(OUT, 3)));
  const session = await openSession({ bytes: build([x], { y }), folder: "." }, CPU);
  const made = (await session.run({ x: { dims: [1, IN], data: noise(IN, 2) } })).y!.data as Float32Array;
  await session.release();
  const spoiled = [...made.keys()].filter((o) => !Number.isFinite(made[o]));
  assert.deepEqual(spoiled, [3, 4]);
});

test("it says which shapes do not fit", () => {
  const x = input("x", "float32", ["T", IN + 1]);
  assert.throws(
    () => quantizedProduct(x, constant("float32", [OUT, IN], noise(OUT * IN, 1)), null),
    new ShapeError("DynamicQuantizeMatMul: [T, 97] does not fit the weight [80, 96]"),
  );
});

test("a convolution in 8 bits is within a hundredth of the exact one, at any height and width", async (t) => {
  for (const kernel of [1, 3]) {
    const weight = constant("float32", [24, 40, kernel, kernel], noise(24 * 40 * kernel ** 2, 5));
    const bias = constant("float32", [24], noise(24, 6));
    const x = input("x", "float32", ["B", 40, "h", "w"]);
    const outputs = { exact: conv(x, weight, bias), int8: quantizedConvolution(x, weight, bias, "conv") };
    const session = await openSession({ bytes: build([x], outputs), folder: "." }, CPU);
    for (const [h, w] of [
      [8, 8],
      [5, 7],
      [1, 1],
      [13, 2],
    ] as const) {
      const data = noise(2 * 40 * h * w, 7).map((value) => value + 0.4);
      const { exact, int8 } = await session.run({ x: { dims: [2, 40, h, w], data } });
      assert.deepEqual(int8!.dims, [2, 24, h, w]);
      const error = relative(int8!.data as Float32Array, exact!.data as Float32Array);
      t.diagnostic(`${kernel}×${kernel}, ${h}×${w}: relative error ${error.toExponential(1)}`);
      assert.ok(error < 1e-2 && error > 1e-4);
    }
    await session.release();
  }
});
