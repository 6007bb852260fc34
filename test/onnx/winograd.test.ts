import assert from "node:assert/strict";
import { test } from "node:test";
import { build } from "../../src/onnx/build.ts";
import { conv } from "../../src/onnx/operators.ts";
import { constant, input, ShapeError } from "../../src/onnx/value.ts";
import { winograd } from "../../src/onnx/winograd.ts";
import { CPU, openSession } from "../../workers/runtime/runtime.ts";

const wave = (size: number, step: number) => Float32Array.from({ length: size }, (_, i) => Math.sin(i * step));
const [B, I, O] = [2, 5, 7];
const weight = constant("float32", [O, I, 3, 3], wave(O * I * 9, 0.7));
const bias = constant("float32", [O], wave(O, 0.3));

test("Winograd's convolution gives what the direct one gives, at any height and width", async () => {
  const x = input("x", "float32", ["B", I, "h", "w"]);
  const outputs = {
    direct: conv(x, weight, bias),
    two: winograd(x, weight, bias, 2),
    four: winograd(x, weight, bias, 4),
  };
  const session = await openSession({ bytes: build([x], outputs), folder: "." }, CPU);
  for (const [h, w] of [
    [8, 8],
    [4, 12],
    [7, 9],
    [1, 1],
    [13, 6],
  ] as const) {
    const { direct, two, four } = await session.run({ x: { dims: [B, I, h, w], data: wave(B * I * h * w, 0.37) } });
    const largest = Math.max(...(direct!.data as Float32Array).map(Math.abs));
    for (const [made, bound] of [
      [two!, 2e-6],
      [four!, 2e-5],
    ] as const) {
      assert.deepEqual(made.dims, [B, O, h, w]);
      const errors = made.data as Float32Array;
      const error = Math.max(...errors.map((value, i) => Math.abs(value - Number(direct!.data[i]))));
      assert.ok(error <= bound * largest, `${h}×${w}: ${error} of ${largest}`);
    }
  }
  await session.release();
});

test("it says which shapes do not fit", () => {
  const x = input("x", "float32", ["B", I + 1, "h", "w"]);
  assert.throws(
    () => winograd(x, weight, bias, 4),
    new ShapeError("winograd: input [B, 6, h, w] does not fit the weight [7, 5, 3, 3]"),
  );
});
