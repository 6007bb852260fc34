import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { openBase, openControlNet } from "../../src/models/base.ts";
import { build } from "../../src/onnx/build.ts";
import { foldable } from "../../src/onnx/fold.ts";
import { add, matmul, transpose } from "../../src/onnx/operators.ts";
import { constant, external, input, scalar } from "../../src/onnx/value.ts";
import { CPU } from "../../workers/runtime/runtime.ts";

const stored = (name: string, ...shape: number[]) =>
  external(name, "float32", shape, { location: `${name}.safetensors`, offset: 0, length: 4 * shape[0]! * shape[1]! });

test("what follows from weights alone is found where something reads it that does not", () => {
  const [x, weight] = [input("x", "float32", ["B", 3]), stored("weight", 2, 3)];
  const turned = transpose(add(weight, scalar(1)), [1, 0]);
  const y = add(matmul(x, turned), constant("float32", [2], [1, 2]));
  assert.deepEqual(foldable([y]), [turned]);
});

test("a weight that is read as it lies in its file is found too, and one that is an output", () => {
  const [x, weight, other] = [input("x", "float32", [1, 2]), stored("weight", 2, 3), stored("other", 2, 2)];
  assert.deepEqual(foldable([matmul(x, weight), other]), [weight, other]);
});

test("every network's weights can be folded: with what is found in a file of its own, no graph names the checkpoint's", () => {
  const fixture = join(import.meta.dirname, "../fixtures/sdxl");
  const { text, networks } = openBase(join(fixture, "base"));
  const { hint, controlnet } = openControlNet(join(fixture, "controlnets/canny")).networks;
  const { unet, vae_decoder, vae_encoder } = networks;
  for (const network of [...text.map((tower) => tower.network), unet, vae_decoder, vae_encoder, hint, controlnet]) {
    const { inputs, outputs } = network.computation(CPU);
    const found = foldable(Object.values(outputs));
    const folded = new Map(found.map((value) => [value, { location: "folded", offset: 0, length: 0 }]));
    const bytes = Buffer.from(build(inputs, outputs, folded));
    assert.ok(bytes.includes("folded"));
    assert.ok(!bytes.includes("safetensors"));
  }
});
