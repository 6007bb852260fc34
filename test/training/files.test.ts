import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { readCheckpoint } from "../../src/models/checkpoint.ts";
import { CSV_HEAD, csvLine, curve, parseCsv } from "../../src/training/curve.ts";
import { initialize } from "../../src/training/initialize.ts";
import { readParameters, writeSafetensors } from "../../src/training/stored.ts";

const folder = mkdtempSync(join(tmpdir(), "training-files-"));
after(() => rmSync(folder, { recursive: true }));

test("parameters come back from a file as they were, in half precision rounded to it", () => {
  const tensors = new Map([
    ["a.weight", { dims: [2, 2], data: Float32Array.of(1, -2, 0.1, 3) }],
    ["a.bias", { dims: [1], data: Float32Array.of(1e-3) }],
  ]);
  for (const dtype of ["F32", "F16"] as const) {
    const file = join(folder, `${dtype}.safetensors`);
    writeSafetensors(file, tensors, dtype);
    const read = readParameters(readCheckpoint(file)).tensors;
    assert.deepEqual([...read.keys()], ["a.weight", "a.bias"]);
    for (const [name, { dims, data }] of tensors) {
      assert.deepEqual(read.get(name)!.dims, dims);
      assert.deepEqual(read.get(name)!.data, dtype === "F32" ? data : data.map(Math.f16round));
    }
  }
  assert.deepEqual(readdirSync(folder).sort(), ["F16.safetensors", "F32.safetensors"], "nothing half-written is left");
});

test("fresh layers are filled as torch fills them", () => {
  const shapes = new Map([
    ["conv.weight", [64, 16, 3, 3]],
    ["conv.bias", [64]],
    ["norm.weight", [8]],
    ["norm.bias", [8]],
    ["embeddings.token_embedding.weight", [500, 32]],
  ]);
  const { tensors } = initialize(shapes, 5);
  const of = (name: string) => tensors.get(name)!.data;
  const bound = 1 / Math.sqrt(16 * 9);
  for (const name of ["conv.weight", "conv.bias"]) {
    const largest = Math.max(...of(name).map(Math.abs));
    assert.ok(largest <= bound && largest > 0.9 * bound, `${name}: ${largest}`);
  }
  assert.deepEqual(of("norm.weight"), new Float32Array(8).fill(1));
  assert.deepEqual(of("norm.bias"), new Float32Array(8));
  const table = of("embeddings.token_embedding.weight");
  const deviation = Math.sqrt(table.reduce((sum, value) => sum + value * value, 0) / table.length);
  assert.ok(Math.abs(deviation - 0.02) < 0.001, `${deviation}`);
  assert.deepEqual(initialize(shapes, 5).data, initialize(shapes, 5).data);
});

test("losses are read back up to a step, without a line that a kill cut short", () => {
  const records = [1, 2, 3].map((step) => ({ step, loss: 0.5 / step, learning_rate: 1e-5, grad_norm: 0.1 * step }));
  const text = CSV_HEAD + records.map(csvLine).join("");
  assert.deepEqual(parseCsv(text, 3), records);
  assert.deepEqual(parseCsv(text, 2), records.slice(0, 2));
  assert.deepEqual(parseCsv(`${text}4,0.1`, 9), records);
  assert.deepEqual(parseCsv(CSV_HEAD, 9), []);
});

test("the curve of many losses is a line of some hundred points, that of none is empty", () => {
  const records = Array.from({ length: 1000 }, (_, i) => ({ step: i + 1, loss: 1, learning_rate: 1, grad_norm: 1 }));
  const points = (svg: string) => /points="([^"]*)"/.exec(svg)![1]!.split(" ").filter(Boolean).length;
  assert.equal(points(curve(records)), 100);
  assert.equal(points(curve([])), 0);
});
