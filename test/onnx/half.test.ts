/** U-Nets and ControlNets in half precision, on the CPU in an accelerator's place: it computes each operator in float32, of rounded numbers. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { check } from "../../check/modules.ts";
import { build } from "../../src/onnx/build.ts";
import { half } from "../../src/onnx/half.ts";
import { cast, conv, layerNorm, matmul, mul, reshape, sin, softmax, transpose } from "../../src/onnx/operators.ts";
import { constant, external, input, type Value } from "../../src/onnx/value.ts";
import { CPU, openSession } from "../../workers/runtime/runtime.ts";
import { HALF } from "../support/tiny.ts";

/** The operators of what is computed, each with its precision, from the output down. */
function operators(output: Value): string[] {
  const found: string[] = [];
  const seen = new Set<Value>();
  const look = (value: Value) => {
    if (value.source.kind !== "node" || seen.has(value)) return;
    seen.add(value);
    found.push(`${value.source.op} ${value.dtype}`);
    for (const from of value.source.inputs) if (from !== null) look(from);
  };
  look(output);
  return found;
}

const ones = (...dims: number[]) => constant("float32", dims, Array(dims.reduce((a, b) => a * b, 1)).fill(1));

test("products and what joins them are in float16; sines, softmax, inputs and outputs in float32", () => {
  const x = input("x", "float32", ["B", 8]);
  const time = mul(input("time", "float32", ["B", 1]), ones(1, 8));
  const scores = softmax(matmul(sin(time), ones(8, 8)));
  const y = layerNorm(mul(matmul(x, ones(8, 8)), scores), ones(8), ones(8), 1e-5);
  const { outputs } = half({ inputs: [], outputs: { y } });
  assert.deepEqual(operators(outputs.y!), [
    "Cast float32",
    "LayerNormalization float16",
    "Mul float16",
    "MatMul float16",
    ...["Cast float16", "Cast float16"], // x, and the first weight
    ...["Cast float16", "Softmax float32", "Cast float32", "MatMul float16", "Cast float16", "Sin float32"],
    ...["Mul float32", "Cast float16"], // and the second weight
    ...["Cast float16", "Cast float16"],
  ]);
});

test("weights that are stored in float16 are handed over as they are", () => {
  const stored = external("w", "float16", [8, 4], { location: "w", offset: 0, length: 64 });
  const weight = transpose(cast(stored, "float32"), [1, 0]);
  const { outputs } = half({ inputs: [], outputs: { y: matmul(input("x", "float32", [1, 4]), weight) } });
  assert.deepEqual(operators(outputs.y!), ["Cast float32", "MatMul float16", "Cast float16", "Transpose float16"]);
});

test("the sine of a large number is as exact as without, the output keeps its name", async () => {
  const x = input("out", "float32", [1, 1, 1, 1]);
  const y = conv(reshape(sin(mul(x, constant("float32", [1], [0.99]))), [1, 1, 1, 1]), ones(1, 1, 1, 1), null);
  const { inputs, outputs } = half({ inputs: [x], outputs: { y } });
  const session = await openSession({ bytes: build(inputs, outputs), folder: "." }, CPU);
  const { y: found } = await session.run({ out: { dims: [1, 1, 1, 1], data: Float32Array.of(999) } });
  await session.release();
  assert.ok(Math.abs((found!.data[0] as number) - Math.sin(0.99 * 999)) < 1e-3);
});

for (const [family, attention, fusedAttention] of [
  ["sd21", "plain", false],
  ["sdxl", "fused", true],
] as const) {
  test(`every network of ${family} with ${attention} attention is within half a hundredth of the reference`, async (t) => {
    const findings = await check(join(import.meta.dirname, "../fixtures", family), { ...HALF, fusedAttention });
    const bodies = findings.filter(({ subject }) => !/^(text|vae)/.test(subject));
    const worst = Math.max(...bodies.map(({ error }) => error));
    t.diagnostic(`${bodies.length} outputs, ${worst.toExponential(1)} at most`);
    assert.deepEqual(
      findings.filter(({ error, bound }) => error > bound),
      [],
    );
    assert.ok(worst > 1e-4, "it is not the exact one");
  });
}
