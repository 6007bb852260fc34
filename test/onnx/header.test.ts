import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { build } from "../../src/onnx/build.ts";
import { readModelHeader } from "../../src/onnx/header.ts";
import { add, relu } from "../../src/onnx/operators.ts";
import { bytes, int, joinBytes, message } from "../../src/onnx/protobuf.ts";
import { constant, external, input } from "../../src/onnx/value.ts";
import { OnnxError } from "../../src/onnx/wire.ts";
import { mutated } from "../mutate.ts";
import { tryDamaged } from "../support/damaged-onnx.ts";

const read = (file: Uint8Array) =>
  readModelHeader({ size: file.length, read: (offset, length) => file.subarray(offset, offset + length) });

const x = input("x", "float32", [1, 3, "H", "W"]);

test("a header says inputs, outputs and operator set, and where weights lie", () => {
  const weight = external("w", "float32", [3, 1, 1], { location: "weights.bin", offset: 64, length: 12 });
  const header = read(build([x], { y: add(relu(x), weight) }));
  assert.deepEqual(header.inputs, [{ name: "x", dtype: "float32", shape: [1, 3, "H", "W"] }]);
  assert.deepEqual(header.outputs, [{ name: "y", dtype: "float32", shape: [1, 3, "H", "W"] }]);
  assert.deepEqual([header.opset, header.weightBytes], [23, 12]);
  assert.deepEqual(header.external, [{ location: "weights.bin", offset: 64, length: 12 }]);
});

test("weights outside of the folder, and of another length than their shape's, are refused", () => {
  const lying = (location: string, length = 12) =>
    read(build([x], { y: add(x, external("w", "float32", [3, 1, 1], { location, offset: 0, length })) }));
  for (const location of ["../w.bin", "/etc/passwd", "a/../../w", "C:\\w", "", "a\\..\\b"]) {
    assert.throws(() => lying(location), /only files beside the model are read/, location);
  }
  assert.throws(() => lying("w.bin", 16), /takes 12 bytes, not 16/);
});

test("a tensor whose shape is larger than its bytes is refused before anything is allocated", () => {
  const tensor = joinBytes([
    int(1, 2 ** 20),
    int(1, 2 ** 10),
    int(2, 1),
    bytes(8, "huge"),
    bytes(9, new Uint8Array(4)),
  ]);
  const graph = message(7, bytes(5, tensor), bytes(12, bytes(1, "y")));
  assert.throws(
    () => read(joinBytes([int(1, 10), graph, message(8, int(2, 17))])),
    /"huge": \[1048576,1024\] takes 4294967296/,
  );
});

test("what is no ONNX file, or one of a later operator set, is said", () => {
  assert.throws(() => read(new Uint8Array(0)), /it has no graph/);
  assert.throws(() => read(readFileSync(import.meta.filename)), OnnxError);
  const plain = build([x], { y: relu(x) });
  assert.throws(() => read(joinBytes([plain, message(8, int(2, 99))])), /its operator set is 99/);
  assert.throws(() => read(joinBytes([plain, bytes(7, "")])), /two graphs/);
});

const FIXTURES = join(import.meta.dirname, "../fixtures/annotators/neural");

test("a damaged file gives one error of the reader or the runtime, and the process goes on", async (t) => {
  const counts = { refused: 0, "not loaded": 0, "not run": 0, run: 0 };
  for (const name of ["hed", "mlsd", "pidinet"]) {
    const whole = readFileSync(join(FIXTURES, name, "model.onnx"));
    for (let seed = 0; seed < 200; seed++) counts[await tryDamaged(mutated(whole, seed), FIXTURES)] += 1;
  }
  t.diagnostic(JSON.stringify(counts));
  assert.ok(counts.refused > 300);
});

test("the constants of a graph count as its weights", () => {
  assert.equal(read(build([x], { y: add(x, constant("float32", [3, 1, 1], [1, 2, 3])) })).weightBytes, 12);
});
