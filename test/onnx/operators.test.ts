import assert from "node:assert/strict";
import { test } from "node:test";
import { attention } from "../../src/onnx/attention.ts";
import { build } from "../../src/onnx/build.ts";
import { add, concat, conv, matmul, reshape, slice, split } from "../../src/onnx/operators.ts";
import { constant, external, input, type Shape, ShapeError, scalar } from "../../src/onnx/value.ts";
import { CPU, openSession } from "../../workers/runtime/runtime.ts";

const x = (...shape: Shape) => input("x", "float32", shape);
const y = (...shape: Shape) => input("y", "float32", shape);

const fails = (what: string, make: () => unknown, message: RegExp) =>
  test(`${what} fails where the node is made, with both shapes`, () => {
    assert.throws(make, (error: Error) => error instanceof ShapeError && message.test(error.message));
  });

fails(
  "adding what does not broadcast",
  () => add(x("B", 320, "h", "w"), y("B", 640, "h", "w")),
  /\[B, 320, h, w\].*\[B, 640, h, w\]/,
);
fails("adding other named sizes", () => add(x("h"), y("w")), /\[h\].*\[w\]/);
fails("multiplying matrices that do not fit", () => matmul(x("B", 77, 768), y(1024, 8)), /\[B, 77, 768\].*\[1024, 8\]/);
fails(
  "a convolution of other channels",
  () => conv(x("B", 3, "h", "w"), y(8, 4, 3, 3), null),
  /\[B, 3, h, w\].*\[8, 4, 3, 3\]/,
);
fails(
  "joining what differs beside the axis",
  () => concat([x("B", 4, "h"), y("B", 4, "w")], 1),
  /\[B, 4, h\].*\[B, 4, w\]/,
);
fails("a reshape to another size", () => reshape(x(2, 3), [7]), /\[2, 3\].*\[7\]/);
fails("a reshape to a size that nothing tells", () => reshape(x("a"), ["b", "c"]), /how large b is/);
fails("a slice beyond the axis", () => slice(x(4), 0, 2, 6), /\[4\]/);
fails("a split that leaves a rest", () => split(x(5), 2, 0), /\[5\]/);
fails("attention with heads that do not divide", () => attention(x(1, 4, 10), y(1, 4, 10), y(1, 4, 10), 3), /3 heads/);

test("a graph computes, with sizes that are known only when it runs", async () => {
  const a = input("a", "float32", ["n", 2]);
  const sum = add(a, constant("float32", [2], [10, 20]));
  const session = await openSession({ bytes: build([a], { sum, twice: add(sum, sum) }), folder: "." }, CPU);
  const outputs = await session.run({ a: { dims: [2, 2], data: Float32Array.of(1, 2, 3, 4) } });
  assert.deepEqual([...outputs.sum!.data], [11, 22, 13, 24]);
  assert.deepEqual([...outputs.twice!.data], [22, 44, 26, 48]);
  assert.deepEqual(outputs.sum!.dims, [2, 2]);
});

test("one value may be an output under two names, and an input may be one", async () => {
  const a = input("a", "float32", [1]);
  const b = add(a, scalar(1));
  const session = await openSession({ bytes: build([a], { b, same: b, a_again: a }), folder: "." }, CPU);
  const { b: first, same, a_again } = await session.run({ a: { dims: [1], data: Float32Array.of(4) } });
  assert.deepEqual([first!.data[0], same!.data[0], a_again!.data[0]], [5, 5, 4]);
});

test("a path of ten thousand nodes is written without running out of stack", () => {
  const first = x(1);
  let value = first;
  for (let i = 0; i < 10_000; i++) value = add(value, scalar(i));
  assert.ok(build([first], { value }).length > 10_000);
});

test("weights stay in their file: the graph of a 4 GB tensor has some hundred bytes", () => {
  const weight = external("w", "float32", [2 ** 30], { location: "model.safetensors", offset: 8, length: 2 ** 32 });
  assert.ok(build([], { sum: add(weight, scalar(1)) }).length < 500);
});
