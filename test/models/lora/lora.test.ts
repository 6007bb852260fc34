import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { addLoras, dora } from "../../../src/diffusion/adapters/loras.ts";
import { openBase } from "../../../src/models/base.ts";
import { loraMisfit, matchLora, openLora } from "../../../src/models/lora/lora.ts";
import { runOnce } from "../../../workers/runtime/runtime.ts";
import { writeRaw } from "../../support/rewrite.ts";

const folder = mkdtempSync(join(tmpdir(), "lora-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const base = openBase(join(import.meta.dirname, "../../fixtures/sd15/base"));
const once: Parameters<typeof addLoras>[2] = (network) => runOnce(network.graph());

type Tensors = Record<string, readonly [shape: number[], value?: (i: number) => number]>;
let files = 0;

/** A LoRA file of float32 tensors. */
function write(tensors: Tensors, metadata: Record<string, string> = {}): string {
  const header: Record<string, unknown> = { __metadata__: metadata };
  const parts: Float32Array[] = [];
  let offset = 0;
  for (const [name, [shape, value = (i: number) => Math.sin(i + 1)]] of Object.entries(tensors)) {
    const data = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => value(i));
    header[name] = { dtype: "F32", shape, data_offsets: [offset, offset + data.byteLength] };
    offset += data.byteLength;
    parts.push(data);
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const file = join(folder, `${files++}.safetensors`);
  writeFileSync(file, Buffer.concat([length, json, ...parts.map((part) => Buffer.from(part.buffer))]));
  return file;
}

const PLACE = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q";
const FLAT = PLACE.replaceAll(".", "_");
const factors = (down: string, up: string): Tensors => ({ [down]: [[2, 16]], [up]: [[16, 2]] });

/** The names that writers of LoRA files give the same layer. */
const SPELLINGS: Record<string, [Tensors, Record<string, string>?]> = {
  peft: [factors(`unet.${PLACE}.lora_A.weight`, `unet.${PLACE}.lora_B.weight`)],
  diffusers: [factors(`unet.${PLACE}.lora.down.weight`, `unet.${PLACE}.lora.up.weight`)],
  processor: [
    factors(
      `unet.${PLACE.replace("to_q", "processor.to_q_lora.down.weight")}`,
      `unet.${PLACE.replace("to_q", "processor.to_q_lora.up.weight")}`,
    ),
  ],
  kohya: [factors(`lora_unet_${FLAT}.lora_down.weight`, `lora_unet_${FLAT}.lora_up.weight`)],
  original: [
    factors(
      "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q.lora_down.weight",
      "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q.lora_up.weight",
    ),
  ],
};

test("every writer's names are the same layer, changed by the same factors", async () => {
  for (const [name, [tensors]] of Object.entries(SPELLINGS)) {
    const lora = openLora(write(tensors));
    assert.equal(loraMisfit(base, lora), null, name);
    const { unet } = await addLoras(base, [{ id: name, lora, scale: -0.5 }], once, 1e9);
    assert.deepEqual(unet.grafts, [{ kind: "low_rank", at: PLACE, channels: 16 }], name);
    const up = unet.feeds[`${PLACE}:up`]!.data as Float32Array;
    assert.ok(Math.abs(up[0]! - -0.5 * Math.sin(1)) < 1e-6, name);
  }
});

test("alpha over rank scales, told by a tensor or by the header", async () => {
  const plain = factors(`unet.${PLACE}.lora_A.weight`, `unet.${PLACE}.lora_B.weight`);
  const scaledBy = async (file: string) => {
    const { unet } = await addLoras(base, [{ id: "one", lora: openLora(file), scale: 1 }], once, 1e9);
    return Number(unet.feeds[`${PLACE}:up`]!.data[0]) / Math.sin(1);
  };
  const near = (a: number, b: number) => assert.ok(Math.abs(a - b) < 1e-6, `${a}, not ${b}`);
  near(await scaledBy(write(plain)), 1);
  near(await scaledBy(write({ ...plain, [`unet.${PLACE}.alpha`]: [[], () => 3] })), 1.5);
  const metadata = { lora_adapter_metadata: JSON.stringify({ "unet.r": 2, "unet.lora_alpha": 4 }) };
  near(await scaledBy(write(plain, metadata)), 2);
});

test("scale 0 adds nothing, and two LoRA are as one of both ranks", async () => {
  const lora = openLora(write(SPELLINGS.kohya![0]));
  const none = await addLoras(base, [{ id: "one", lora, scale: 0 }], once, 1e9);
  assert.deepEqual(none.unet, { grafts: [], feeds: {} });
  assert.deepEqual(none.warnings, []);
  const mute = openLora(write({ ...SPELLINGS.kohya![0], [`lora_unet_${FLAT}.alpha`]: [[], () => 0] }));
  const told = await addLoras(
    base,
    [
      { id: "mute", lora: mute, scale: 1 },
      { id: "one", lora, scale: 1 },
    ],
    once,
    1e9,
  );
  assert.deepEqual(
    told.warnings.map((warning) => warning.slice(0, 32)),
    ['the LoRA "mute" changes nothing:'],
  );
  const two = [
    { id: "one", lora, scale: 1 },
    { id: "two", lora: openLora(write(SPELLINGS.peft![0])), scale: -1 },
  ];
  const { unet } = await addLoras(base, two, once, 1e9);
  assert.deepEqual(unet.feeds[`${PLACE}:down`]!.dims, [4, 16]);
  const up = unet.feeds[`${PLACE}:up`]!.data as Float32Array;
  assert.equal(up[2], -up[0]!);
});

test("of SDXL each text tower gets its own change", async () => {
  const sdxl = openBase(join(import.meta.dirname, "../../fixtures/sdxl/base"));
  const layer = "encoder.layers.0.self_attn.q_proj";
  const [width = 0, second = 0] = sdxl.text.map(({ config }) => config.hidden_size);
  const change = (prefix: string, size: number, value: number): Tensors => ({
    [`${prefix}_text_model_${layer.replaceAll(".", "_")}.lora_down.weight`]: [[1, size], () => 1],
    [`${prefix}_text_model_${layer.replaceAll(".", "_")}.lora_up.weight`]: [[size, 1], () => value],
  });
  const lora = openLora(write({ ...change("lora_te1", width, 2), ...change("lora_te2", second, 3) }));
  const { text_encoder, text_encoder_2 } = await addLoras(sdxl, [{ id: "one", lora, scale: 1 }], once, 1e9);
  const ups = [text_encoder, text_encoder_2].map(({ feeds }) =>
    Object.entries(feeds).flatMap(([name, { data }]) => (name.endsWith(":up") ? [data.length, data[0]] : [])),
  );
  assert.deepEqual(ups, [
    [width, 2],
    [second, 3],
  ]);
});

test("DoRA gives each output, or each input, the norm that is stored", () => {
  const norm = (values: number[]) => Math.hypot(...values);
  const [weight, delta] = [Float32Array.of(1, 2, 3, 4), { dims: [2, 2], data: Float32Array.of(1, 0, 0, 1) }];
  const out = dora(weight, delta, { dims: [2, 1], data: Float32Array.of(5, 7) }).data.map((v, i) => v + weight[i]!);
  assert.ok(Math.abs(norm([out[0]!, out[1]!]) - 5) < 1e-5 && Math.abs(norm([out[2]!, out[3]!]) - 7) < 1e-5);
  const inner = dora(weight, delta, { dims: [1, 2], data: Float32Array.of(5, 7) }).data.map((v, i) => v + weight[i]!);
  assert.ok(Math.abs(norm([inner[0]!, inner[2]!]) - 5) < 1e-5);
});

/** What a bad file is told to be. */
const BAD: Record<string, [Tensors, RegExp]> = {
  "half of a pair": [{ [`lora_unet_${FLAT}.lora_down.weight`]: [[2, 16]] }, /lora_down\.weight".*make no change/],
  "rank 0": [factors0(), /rank 0/],
  "a key of no LoRA": [{ "unet.what.ever": [[1]] }, /"unet\.what\.ever"/],
  "a LoRA for Flux": [factors("lora_unet_double_blocks_0_img_attn_proj.lora_down.weight", "x.lora_up.weight"), /Flux/],
  "one layer twice": [
    { ...factors(`unet.${PLACE}.lora_A.weight`, `unet.${PLACE}.lora_B.weight`), ...SPELLINGS.kohya![0] },
    /the same of the same layer/,
  ],
};
function factors0(): Tensors {
  return { [`lora_unet_${FLAT}.lora_down.weight`]: [[0, 16]], [`lora_unet_${FLAT}.lora_up.weight`]: [[16, 0]] };
}

test("a bad file is refused with its reason", () => {
  for (const [name, [tensors, reason]] of Object.entries(BAD)) {
    assert.throws(() => openLora(write(tensors)), reason, name);
  }
});

test("numbers that are no weights are refused by name when the file is opened, those of every kind of weight are not", () => {
  const bytes = { F64: 8, I64: 8, F32: 4, F16: 2, BF16: 2, F8_E4M3: 1, BOOL: 1, I8: 1, U8: 1, I16: 2, I32: 4, U64: 8 };
  const refused = Object.entries(bytes).filter(([dtype, size]) => {
    const file = write({});
    const tensor = (shape: number[], of = dtype, width = size) => ({
      dtype: of,
      shape,
      bytes: new Uint8Array(shape.reduce((a, b) => a * b, width)),
    });
    writeRaw(
      file,
      new Map([
        [`lora_unet_${FLAT}.lora_down.weight`, tensor([2, 16], "F32", 4)],
        [`lora_unet_${FLAT}.lora_up.weight`, tensor([16, 2], "F32", 4)],
        [`lora_unet_${FLAT}.alpha`, tensor([])],
      ]),
    );
    try {
      openLora(file);
      return false;
    } catch (error) {
      assert.match((error as Error).message, new RegExp(`^"lora_unet_${FLAT}\\.alpha" is stored as ${dtype}, not as`));
      return true;
    }
  });
  assert.deepEqual(
    refused.map(([dtype]) => dtype),
    ["BOOL", "I8", "U8", "I16", "I32", "U64"],
  );
});

test("what does not fit a model is told: a key that matches nothing, both shapes, another family, two names of a layer", () => {
  const misfit = (tensors: Tensors) => loraMisfit(base, openLora(write(tensors)));
  assert.match(
    misfit(factors("unet.nowhere.lora_A.weight", "unet.nowhere.lora_B.weight"))!,
    /"unet\.nowhere.*matches no layer/,
  );
  const wide = {
    [`unet.${PLACE}.lora_A.weight`]: [[2, 20]],
    [`unet.${PLACE}.lora_B.weight`]: [[16, 2]],
  } satisfies Tensors;
  assert.match(misfit(wide)!, /\[16, 20\], the model's is \[16, 16\]/);
  const second = factors(
    "lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight",
    "lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_up.weight",
  );
  assert.match(misfit(second)!, /for SDXL, the model is SD 1\.x/);
  const both = openLora(write({ ...SPELLINGS.kohya![0], ...SPELLINGS.original![0] }));
  assert.throws(() => matchLora(base, both), /names of the same layer/);
});

test("a value that is no number, and whole differences beyond the budget, end the generation with the reason", async () => {
  const nan = openLora(write({ [`lora_unet_${FLAT}.diff`]: [[16, 16], () => Number.NaN] }));
  await assert.rejects(
    addLoras(base, [{ id: "bad", lora: nan, scale: 1 }], once, 1e9),
    /"bad" has a value that is no number/,
  );
  await assert.rejects(addLoras(base, [{ id: "bad", lora: nan, scale: 1 }], once, 100), /MEMORY_BUDGET/);
});

test("a file of 100,000 keys is refused with its reason", () => {
  const many: Tensors = {};
  for (let i = 0; i < 1e5; i++) many[`unet.layer${i}.alpha`] = [[], () => 1];
  assert.throws(() => openLora(write(many)), /100000 tensors are more than/);
});
