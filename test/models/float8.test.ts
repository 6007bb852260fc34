/** Weights in float8 with scales beside them, as ComfyUI has written them by two names. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { readCheckpoint } from "../../src/models/checkpoint.ts";
import { storedNetwork } from "../../src/models/network.ts";
import { requireRead } from "../../src/models/unread.ts";
import { CPU, openSession } from "../../workers/runtime/runtime.ts";
import { type RawTensor, writeRaw } from "../support/rewrite.ts";

const dir = mkdtempSync(join(tmpdir(), "float8-"));
after(() => rmSync(dir, { recursive: true }));

/** 1, 2, -1 and 0.5 of float8_e4m3fn. */
const WEIGHT: RawTensor = { dtype: "F8_E4M3", shape: [2, 2], bytes: Uint8Array.of(0x38, 0x40, 0xb8, 0x30) };
const floats = (shape: number[], ...values: number[]): RawTensor => ({
  dtype: "F32",
  shape,
  bytes: new Uint8Array(Float32Array.from(values).buffer),
});

function opened(beside: Record<string, RawTensor>) {
  const file = join(dir, "weights.safetensors");
  writeRaw(file, new Map(Object.entries({ "q.weight": WEIGHT, ...beside })));
  const checkpoint = readCheckpoint(file);
  const network = storedNetwork(checkpoint, (w) => ({ inputs: [], outputs: { weight: w.get("q.weight", [2, 2]) } }));
  requireRead(checkpoint.tensors.keys(), [network], "unet");
  return network;
}

async function weightOf(beside: Record<string, RawTensor>): Promise<number[]> {
  const session = await openSession(opened(beside).graph(), CPU);
  const { weight } = await session.run({});
  await session.release();
  return [...(weight!.data as Float32Array)];
}

test("a float8 weight is multiplied by its scale, of the whole or of each row, by the older name and today's", async () => {
  assert.deepEqual(await weightOf({}), [1, 2, -1, 0.5]);
  assert.deepEqual(await weightOf({ "q.scale_weight": floats([], 2), scaled_fp8: floats([1], 0) }), [2, 4, -2, 1]);
  const comfy = {
    "q.input_scale": floats([], 3),
    "q.comfy_quant": { dtype: "U8", shape: [2], bytes: Buffer.from("{}") },
  };
  assert.deepEqual(await weightOf({ "q.weight_scale": floats([1], 2), ...comfy }), [2, 4, -2, 1]);
  assert.deepEqual(await weightOf({ "q.weight_scale": floats([2, 1], 2, 4) }), [2, 4, -4, 2]);
});

test("scales of other forms are refused by their names", () => {
  assert.throws(() => opened({ "q.weight_scale": floats([1, 2], 2, 4) }), /"q\.weight_scale" is F32 \[1, 2\], not one/);
  assert.throws(() => opened({ "q.weight_scale_inv": floats([], 2) }), /"q\.weight_scale_inv": weights quantized so/);
  const twice = { "q.weight_scale": floats([], 2), "q.scale_weight": floats([], 2) };
  assert.throws(() => opened(twice), /"q\.weight_scale": weights quantized so/);
});
