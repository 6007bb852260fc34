/** A file of its own: what a process has had of memory at most cannot be taken back. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { readCheckpoint } from "../../../src/models/checkpoint.ts";
import { linear } from "../../../src/models/layers.ts";
import { storedNetwork } from "../../../src/models/network.ts";
import { input } from "../../../src/onnx/value.ts";
import { PreparedCache } from "../../../workers/runtime/prepared.ts";
import { CPU, openPrepared } from "../../../workers/runtime/runtime.ts";
import { writeFile } from "../../support/original.ts";

const folder = mkdtempSync(join(tmpdir(), "preparing-"));
after(() => rmSync(folder, { recursive: true }));

const LAYERS = 24;
const SIZE = 2048;

test("a network is prepared in little more memory than its weights take as float32", async (t) => {
  const layers = Array.from({ length: LAYERS }, (_, i) => `layer_${i}`);
  const file = join(folder, "weights.safetensors");
  writeFile(file, new Map(layers.map((name) => [`${name}.weight`, { dtype: "F16", shape: [SIZE, SIZE] }])));
  const deep = storedNetwork(readCheckpoint(file), (w) => {
    const x = input("x", "float32", ["B", SIZE]);
    const y = layers.reduce((value, name) => linear(w.at(name), value, SIZE, { bias: false }), x);
    return { inputs: [x], outputs: { y } };
  });
  const before = process.resourceUsage().maxRSS;
  const session = await openPrepared(deep, CPU, new PreparedCache(join(folder, "cache"), assert.fail));
  const times = (1024 * (process.resourceUsage().maxRSS - before)) / deep.weightBytes;
  await session.release();
  t.diagnostic(`${times.toFixed(2)} times its weights`);
  assert.ok(times < 1.6, `${times.toFixed(2)} times`);
});
