/** U-Nets and ControlNets in the forms that diffusers' classes take: forms.json, computed by fixtures/make/forms.py. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { readTensors } from "../../check/tensors.ts";
import { noFeatures } from "../../src/diffusion/adapters/t2i-adapters.ts";
import { noResiduals } from "../../src/diffusion/control.ts";
import { readCheckpoint } from "../../src/models/checkpoint.ts";
import { controlnetConfig, type EncoderConfig, parseConfig, unetConfig } from "../../src/models/config.ts";
import { controlnet, hintEncoder } from "../../src/models/controlnet.ts";
import { requireLevels } from "../../src/models/levels.ts";
import { storedNetwork } from "../../src/models/network.ts";
import { unet } from "../../src/models/unet.ts";
import { type Weights, weightShapes } from "../../src/models/weights.ts";
import type { Computation } from "../../src/onnx/build.ts";
import type { Tensor } from "../../src/onnx/tensor.ts";
import { CPU, openSession } from "../../workers/runtime/runtime.ts";
import { type RawTensor, writeRaw } from "../support/rewrite.ts";

const fixtures = join(import.meta.dirname, "../fixtures");
const dir = mkdtempSync(join(tmpdir(), "forms-"));
after(() => rmSync(dir, { recursive: true }));
const expected = readTensors(join(fixtures, "forms.safetensors"));
const { common, forms } = JSON.parse(readFileSync(join(fixtures, "forms.json"), "utf8"));

const sizeOf = (shape: readonly number[]) => shape.reduce((product, size) => product * size, 1);
const wave = (shape: readonly number[], phase: number) =>
  Float64Array.from({ length: sizeOf(shape) }, (_, i) => Math.sin(i * 0.7 + phase));
const tensor = (dims: readonly number[], values: ArrayLike<number>): Tensor => ({
  dims: [...dims],
  data: Float32Array.from(values),
});

/** As forms.py makes it. */
function weight(name: string, shape: readonly number[]): RawTensor {
  const phase = Buffer.from(name).reduce((sum, byte) => sum + byte, 0) * 0.1;
  const form = (value: number) =>
    shape.length > 1
      ? value / Math.sqrt(sizeOf(shape.slice(1)))
      : name.endsWith("weight")
        ? 1 + 0.1 * value
        : 0.1 * value;
  const values = Float32Array.from(wave(shape, phase), form);
  return { dtype: "F32", shape, bytes: new Uint8Array(values.buffer) };
}

/** Runs one network of a form on its weights. */
async function run(compute: (w: Weights) => Computation, feeds: Record<string, Tensor>) {
  const file = join(dir, "weights.safetensors");
  writeRaw(file, new Map([...weightShapes(compute)].map(([name, shape]) => [name, weight(name, shape)])));
  const session = await openSession(storedNetwork(readCheckpoint(file), compute).graph(CPU), CPU);
  const outputs = await session.run(feeds);
  await session.release();
  return outputs;
}

const B = 2;
const told = (config: EncoderConfig) => ({
  sample: tensor([B, config.in_channels, 8, 8], wave([B, config.in_channels, 8, 8], 1)),
  timestep: tensor([B], [500, 500]),
  encoder_hidden_states: tensor([B, 7, config.cross_attention_dim], wave([B, 7, config.cross_attention_dim], 2)),
});

async function unetOut(raw: object): Promise<Float32Array> {
  const config = parseConfig(unetConfig, raw, "unet");
  requireLevels(config, "unet");
  const { out } = await run((w) => unet(w, config), { ...told(config), ...noResiduals(config), ...noFeatures(config) });
  return out!.data as Float32Array;
}

async function controlnetOut(raw: object): Promise<Float32Array> {
  const config = parseConfig(controlnetConfig, raw, "config.json");
  requireLevels(config, "config.json");
  const shape = [B, 3, 64, 64];
  const hint = tensor(
    shape,
    wave(shape, 3).map((value) => (Math.fround(value) + 1) / 2),
  );
  const { hint_embedding } = await run((w) => hintEncoder(w, config), { hint });
  const none = noResiduals(config);
  const count = Object.keys(none).length;
  const outputs = await run((w) => controlnet(w, config), {
    ...told(config),
    hint_embedding: hint_embedding!,
    rows: { dims: [B], data: BigInt64Array.of(0n, 1n) },
    scales: tensor([B, count], Array(B * count).fill(1)),
    ...Object.fromEntries(config.block_out_channels.map((_, k) => [`mask_${k}`, tensor([1, 1, 1, 1], [1])])),
    ...none,
  });
  return Float32Array.from(Object.keys(none).flatMap((name) => [...(outputs[`${name}_out`]!.data as Float32Array)]));
}

const OUT = { UNet2DConditionModel: unetOut, ControlNetModel: controlnetOut };

for (const form of forms as { name: string; class: keyof typeof OUT; config: object }[]) {
  test(`${form.name}: what diffusers computes`, async () => {
    const out = await OUT[form.class]({ ...common, ...form.config });
    const { data } = expected.get(form.name)!;
    assert.equal(out.length, data.length);
    const largest = Math.max(...Array.from(data as Float32Array, Math.abs));
    const error = Math.max(...out.map((value, i) => Math.abs(value - Number(data[i])))) / largest;
    console.log(`${form.name.padEnd(48)} ${error.toExponential(1)} of the largest`);
    assert.ok(error < 1e-4, `${error}`);
  });
}

for (const [what, config, reason] of [
  ["lists of another length than the levels", { layers_per_block: [1, 2] }, /"layers_per_block": 2 values for the 3/],
  ["lists in lists without those of the way up", { transformer_layers_per_block: [1, [1], 1] }, /"reverse_transf/],
  ["num_attention_heads in a U-Net", { num_attention_heads: 2 }, /"num_attention_heads": not supported/],
  ["classes", { class_embed_type: "timestep" }, /"class_embed_type": not supported/],
  ["another middle block", { mid_block_type: "UNetMidBlock2DSimpleCrossAttn" }, /"mid_block_type"/],
  ["another activation", { act_fn: "mish" }, /"act_fn"/],
] as const) {
  test(`what diffusers refuses, or computes otherwise, is refused by its key: ${what}`, () => {
    const open = () => {
      const up = { up_block_types: ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"] };
      requireLevels(parseConfig(unetConfig, { ...common, ...up, ...config }, "unet"), "unet");
    };
    assert.throws(open, reason);
  });
}
