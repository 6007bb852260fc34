/** ControlNets of other kinds than the published ones, made of the fixtures' own: Union, Control-LoRA, and whole differences. */
import assert from "node:assert/strict";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { readTensors } from "../../check/tensors.ts";
import { noResiduals } from "../../src/diffusion/control.ts";
import { NoiseGenerator } from "../../src/diffusion/noise.ts";
import { openBase, openControlNet } from "../../src/models/base.ts";
import { findCheckpoint } from "../../src/models/checkpoint.ts";
import { residualLevels } from "../../src/models/encoder.ts";
import type { ControlNet } from "../../src/models/opened.ts";
import { openShelvedFile, openShelvedFolder, shelvedMisfit } from "../../src/models/shelved-controlnet.ts";
import type { Tensor } from "../../src/onnx/tensor.ts";
import { readParameters } from "../../src/training/stored.ts";
import { type RawTensor, writeRaw } from "../support/rewrite.ts";
import { runner, SD15 } from "../support/tiny.ts";

const SDXL = join(import.meta.dirname, "../fixtures/sdxl");
const STEM = "diffusion_pytorch_model";
const WEIGHTS = `${STEM}.safetensors`;
const folder = mkdtempSync(join(tmpdir(), "kinds-"));
after(() => rmSync(folder, { recursive: true }));

const base = openBase(join(SDXL, "base"));
const canny = openControlNet(join(SDXL, "controlnets/canny"));
const stored = (place: string) => readParameters(findCheckpoint(join(SDXL, place), STEM)).tensors;
const own = stored("controlnets/canny");
const bases = stored("base/unet");
const inputs = readTensors(join(SDXL, "modules.safetensors"));

const raw = (shape: readonly number[], values: ArrayLike<number>): RawTensor => ({
  dtype: "F32",
  shape,
  bytes: new Uint8Array(Float32Array.from(values).buffer),
});
const filled = (dims: number[], value: number): Tensor => ({
  dims,
  data: new Float32Array(dims.reduce((a, b) => a * b, 1)).fill(value),
});

const hintOf = (told: Record<string, Tensor> = {}) => ({ hint: inputs.get("hint")!, ...told });

/** A ControlNet's middle residual on the fixture's inputs, at scale 1. */
async function middle({ config, networks }: ControlNet, embedding: Tensor, more: Record<string, Tensor> = {}) {
  const rows = inputs.get("sample")!.dims[0]!;
  const residuals = await runner(networks.controlnet)({
    ...Object.fromEntries(
      ["sample", "encoder_hidden_states", "text_embeds", "time_ids"].map((n) => [n, inputs.get(n)!]),
    ),
    timestep: { dims: [rows], data: Float32Array.from(inputs.get("timestep")!.data, Number) },
    hint_embedding: embedding,
    rows: { dims: [rows], data: BigInt64Array.from({ length: rows }, (_, i) => BigInt(i)) },
    scales: filled([rows, residualLevels(config).length], 1),
    ...Object.fromEntries(config.block_out_channels.map((_, k) => [`mask_${k}`, filled([1, 1, 1, 1], 1)])),
    ...noResiduals(config),
    ...more,
  });
  return residuals.mid_residual_out!.data as Float32Array;
}

const embedded = async (one: ControlNet, told: Record<string, Tensor> = {}) =>
  (await runner(one.networks.hint)(hintOf(told))).hint_embedding!;

/** ‖a − b‖ / ‖b‖. */
function apart(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const [difference, size] = [Math.hypot(...Array.from(a, (x, i) => x - b[i]!)), Math.hypot(...Array.from(b))];
  return difference / size;
}

const expected = await middle(canny, await embedded(canny));

/** The fixture's ControlNet as what it adds to the base: of each matrix up = what is added, down = the identity. */
function lowRank(): Map<string, RawTensor> {
  const tensors = new Map([["lora_controlnet", raw([0], [])]]);
  for (const [name, { dims, data }] of own) {
    const from = bases.get(name)?.data;
    if (from === undefined || dims.length === 1) {
      tensors.set(name, raw(dims, data as Float32Array));
      continue;
    }
    const rank = dims.slice(1).reduce((a, b) => a * b, 1);
    const layer = name.replace(/\.weight$/, "");
    const added = Array.from(data as Float32Array, (value, i) => value - Number(from[i]));
    const identity = Array.from({ length: rank * rank }, (_, i) => (i % (rank + 1) === 0 ? 1 : 0));
    tensors.set(`${layer}.up`, raw([dims[0]!, rank, ...dims.slice(2).map(() => 1)], added));
    tensors.set(`${layer}.down`, raw([rank, ...dims.slice(1)], identity));
  }
  return tensors;
}

const opened = (name: string, tensors: ReadonlyMap<string, RawTensor>) => {
  const file = join(folder, `${name}.safetensors`);
  writeRaw(file, tensors);
  return openShelvedFile(file);
};

test("a Control-LoRA beside its base model is the ControlNet that it was made of", async (t) => {
  const shelved = opened("control-lora", lowRank());
  const one = shelved.on(base);
  const error = apart(await middle(one, await embedded(one)), expected);
  t.diagnostic(`apart by ${error.toExponential(2)}`);
  assert.ok(error < 1e-5);
  assert.equal(shelved.on(base), one, "the same one each time");
  assert.equal(shelved.residuals, residualLevels(canny.config).length);
});

test("a ControlNet stored as whole differences is the one that it was made of", async (t) => {
  const differences = [...own].map(([name, { dims, data }]) => {
    const from = bases.get(name)?.data;
    const values = Array.from(data as Float32Array, (value, i) => value - Number(from?.[i] ?? 0));
    return [name, raw(dims, values)] as const;
  });
  const one = opened("difference", new Map([["difference", raw([0], [])], ...differences])).on(base);
  const error = apart(await middle(one, await embedded(one)), expected);
  t.diagnostic(`apart by ${error.toExponential(2)}`);
  assert.ok(error < 1e-5);
});

test("a difference says why it fits no other model, and what is wrong with its file", () => {
  const tensors = lowRank();
  const sd15 = openBase(join(SD15, "base"));
  assert.match(shelvedMisfit(sd15, opened("other", tensors))!, /stored as a difference .*config needs/);
  const up = "mid_block.resnets.0.conv1.up";
  const { shape } = tensors.get(up)!;
  tensors.delete(up);
  assert.throws(() => opened("half", tensors), /but no "mid_block\.resnets\.0\.conv1\.up"/);
  tensors.set(up, raw([shape[0]!, 0, 1, 1], []));
  assert.throws(() => opened("rank", tensors), /are not of one rank above 0/);
});

/** What a stranger may have done to a Control-LoRA. */
const SPOILED: Record<string, [(tensors: Map<string, RawTensor>) => void, RegExp]> = {
  "a layer as factors and in full": [
    (tensors) => tensors.set("mid_block.resnets.0.conv1.weight", raw([1], [1])),
    /"mid_block\.resnets\.0\.conv1\.weight" are both of the same layer/,
  ],
  "both marks": [(tensors) => tensors.set("difference", raw([0], [])), /both "lora_controlnet" and "difference"/],
  "factors of one axis": [
    (tensors) => tensors.set("conv_in.up", raw([3], [1, 1, 1])),
    /up \[3\] and down .* not of one rank/,
  ],
  "a number as a factor": [(tensors) => tensors.set("conv_in.up", raw([], [1])), /not of one rank/],
  "its mark alone": [
    (tensors) => {
      for (const name of [...tensors.keys()].filter((one) => one !== "lora_controlnet")) tensors.delete(name);
    },
    /no input_hint_block/,
  ],
};

test("a Control-LoRA of a stranger gives one error that says why", () => {
  for (const [name, [spoil, reason]] of Object.entries(SPOILED)) {
    const tensors = lowRank();
    spoil(tensors);
    assert.throws(() => opened("spoiled", tensors), reason, name);
  }
  const many = lowRank();
  for (let i = 0; i < 20_000; i++) many.set(`nothing.${i}`, raw([1], [1]));
  assert.match(shelvedMisfit(base, opened("many", many))!, /does not read 20000 of the tensors, such as "nothing\.0"/);
});

const TYPES = 6;

/** The fixture's ControlNet with what a Union has more; zero = what changes nothing. In a folder with the config of a plain one. */
function union(
  name: string,
  { zero, spoil = () => {} }: { zero: boolean; spoil?: (tensors: Map<string, RawTensor>) => void },
): ControlNet {
  const size = canny.config.block_out_channels[0]!;
  const time = 4 * size;
  const added = TYPES * canny.config.addition_time_embed_dim!;
  const noise = new NoiseGenerator(5);
  const random = (shape: number[], scale = 0.2) =>
    raw(
      shape,
      noise.normal(shape.reduce((a, b) => a * b, 1)).map((value) => value * scale),
    );
  const last = (shape: number[]) =>
    zero ? raw(shape, new Float32Array(shape.reduce((a, b) => a * b, 1))) : random(shape);
  const layer = "transformer_layes.0";
  const shapes: [string, RawTensor][] = [
    ["task_embedding", random([TYPES, size], 1)],
    [`${layer}.attn.in_proj_weight`, random([3 * size, size])],
    [`${layer}.attn.in_proj_bias`, random([3 * size])],
    [`${layer}.attn.out_proj.weight`, random([size, size])],
    [`${layer}.attn.out_proj.bias`, random([size])],
    ...["ln_1", "ln_2"].flatMap((norm): [string, RawTensor][] => [
      [`${layer}.${norm}.weight`, random([size])],
      [`${layer}.${norm}.bias`, random([size])],
    ]),
    [`${layer}.mlp.c_fc.weight`, random([4 * size, size])],
    [`${layer}.mlp.c_fc.bias`, random([4 * size])],
    [`${layer}.mlp.c_proj.weight`, random([size, 4 * size])],
    [`${layer}.mlp.c_proj.bias`, random([size])],
    ["spatial_ch_projs.weight", last([size, size])],
    ["spatial_ch_projs.bias", last([size])],
    ["control_add_embedding.linear_1.weight", random([time, added])],
    ["control_add_embedding.linear_1.bias", random([time])],
    ["control_add_embedding.linear_2.weight", last([time, time])],
    ["control_add_embedding.linear_2.bias", last([time])],
  ];
  const dir = join(folder, name);
  cpSync(join(SDXL, "controlnets/canny"), dir, { recursive: true });
  rmSync(join(dir, WEIGHTS));
  const plain = [...own].map(([key, { dims, data }]) => [key, raw(dims, data as Float32Array)] as const);
  const tensors = new Map([...plain, ...shapes]);
  spoil(tensors);
  writeRaw(join(dir, WEIGHTS), tensors);
  return openShelvedFolder(dir).on(base);
}

const type = (number: number) => ({
  type: { dims: [1], data: BigInt64Array.of(BigInt(number)) },
  factor: filled([1], 1),
});
const types = (...numbers: number[]) => ({
  control_type: {
    dims: [1, TYPES],
    data: Float32Array.from({ length: TYPES }, (_, i) => (numbers.includes(i) ? 1 : 0)),
  },
});

test("a ControlNet-Union is told by its tensors, and is a ControlNet shifted by its types", async (t) => {
  const nothing = union("zero", { zero: true });
  assert.deepEqual(nothing.config.union, { types: TYPES, layers: 1 });
  const same = apart(await middle(nothing, await embedded(nothing, type(3)), types(3)), expected);
  t.diagnostic(`one that adds nothing is the plain one: apart by ${same.toExponential(2)}`);
  assert.ok(same < 1e-5);

  const one = union("random", { zero: false });
  const third = await embedded(one, type(3));
  const made = await middle(one, third, types(3));
  const otherToken = await middle(one, await embedded(one, type(2)), types(3));
  const otherType = await middle(one, third, types(2));
  for (const other of [otherToken, otherType]) {
    t.diagnostic(`another type: apart by ${apart(other, made).toFixed(3)}`);
    assert.ok(apart(other, made) > 1e-3);
  }
});

test("a Union of a stranger gives one error that says why", () => {
  const layers = /^transformer_layes/;
  const bad: Record<string, [(tensors: Map<string, RawTensor>) => void, RegExp]> = {
    "no types": [
      (tensors) => tensors.set("task_embedding", raw([0, 16], [])),
      /"task_embedding" has the shape \[0, 16\]/,
    ],
    "types of one axis": [(tensors) => tensors.set("task_embedding", raw([3], [1, 1, 1])), /has the shape \[3\]/],
    "more types than are embedded": [
      (tensors) => tensors.set("task_embedding", raw([7, 16], new Float32Array(112))),
      /control_add_embedding\.linear_1\.weight" has the shape/,
    ],
    "no transformer": [
      (tensors) => {
        for (const name of [...tensors.keys()].filter((one) => layers.test(one))) tensors.delete(name);
      },
      /no transformer_layes/,
    ],
    "a LoRA's factor among them": [
      (tensors) => tensors.set("lora_unet_x.lora_down.weight", raw([1, 1], [1])),
      /a LoRA|does not read/,
    ],
    "half a projection": [(tensors) => tensors.delete("spatial_ch_projs.bias"), /no tensor "spatial_ch_projs\.bias"/],
  };
  for (const [name, [spoil, reason]] of Object.entries(bad)) {
    assert.throws(() => union("spoiled", { zero: true, spoil }), reason, name);
  }
});
