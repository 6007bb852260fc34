/** Kinds of adapters beside those of the cases: against diffusers and peft (fixtures/make/adapter-kinds.py), or refused by their names. */
import assert from "node:assert/strict";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { readTensors } from "../../check/tensors.ts";
import { addLoras } from "../../src/diffusion/adapters/loras.ts";
import { openBase } from "../../src/models/base.ts";
import { openEmbedding } from "../../src/models/embedding.ts";
import { openIpAdapter } from "../../src/models/ip-adapter.ts";
import { layerChanges } from "../../src/models/lora/keys.ts";
import { openLora } from "../../src/models/lora/lora.ts";
import type { Network } from "../../src/models/network.ts";
import { openSingleFile } from "../../src/models/single-file.ts";
import { openT2iAdapterFile } from "../../src/models/t2i-adapter.ts";
import type { Tensor } from "../../src/onnx/tensor.ts";
import { CPU, openSession, runOnce } from "../../workers/runtime/runtime.ts";
import { writeRaw } from "../support/rewrite.ts";

const FIXTURES = join(import.meta.dirname, "../fixtures");
const KINDS = join(FIXTURES, "adapters/kinds");
const folder = mkdtempSync(join(tmpdir(), "kinds-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const run = (network: Network) => async (feeds: Readonly<Record<string, Tensor>>) => {
  const session = await openSession(network.graph(CPU), CPU);
  return session.run(feeds).finally(() => session.release());
};

const stored = (name: string) => {
  const tensors = readTensors(join(KINDS, name));
  return (key: string): Tensor => tensors.get(key)!;
};

/** The greatest difference of two tensors, which must be small. */
function near(what: string, own: Tensor, expected: Tensor, bound: number): void {
  assert.deepEqual(own.dims, expected.dims, what);
  const off = [...own.data.keys()].reduce(
    (worst, i) => Math.max(worst, Math.abs(Number(own.data[i]) - Number(expected.data[i]))),
    0,
  );
  console.log(`${what}: ${off.toExponential(1)}`);
  assert.ok(off <= bound, `${what}: ${off}`);
}

test("a light T2I-Adapter, pickled in TencentARC's keys, gives the features that diffusers computes", async () => {
  const expected = stored("light.safetensors");
  const { config, network } = openT2iAdapterFile(join(KINDS, "light.pth"));
  assert.deepEqual([config.adapter_type, config.channels, config.in_channels], ["light_adapter", [16, 24, 32], 1]);
  const features = await run(network)({ unshuffled: expected("unshuffled") });
  for (let i = 0; i < 4; i++) near(`feature_${i}`, features[`feature_${i}`]!, expected(`feature_${i}`), 1e-5);
});

test("a full IP-Adapter, pickled as it is published, gives the tokens that diffusers computes", async () => {
  cpSync(join(FIXTURES, "adapters/sd15/ip_adapters/image_encoder"), join(folder, "image_encoder"), { recursive: true });
  cpSync(join(KINDS, "full.bin"), join(folder, "full.bin"));
  const expected = stored("full.safetensors");
  const { kind, network } = openIpAdapter(join(folder, "full.bin"));
  assert.equal(kind, "full");
  const { tokens } = await run(network)({ penultimate: expected("penultimate") });
  near("tokens", tokens!, expected("tokens"), 1e-5);
});

test("pickled textual inversions are read: AUTOMATIC1111's by their ids, diffusers' by their tokens", async () => {
  const sty = openEmbedding(join(KINDS, "sty.pt"));
  assert.deepEqual([sty.token, sty.shapes], ["sty", [[2, 32]]]);
  assert.deepEqual([...(await runOnce(sty.network.graph())).tower_0!.data], [...Array(64).keys()]);
  const cat = openEmbedding(join(KINDS, "cat.bin"));
  assert.deepEqual([cat.token, cat.shapes], ["<cat>", [[1, 32]]]);
  assert.equal((await runOnce(cat.network.graph())).tower_0!.data[0], 32);
});

test("peft's DoRA of a convolution has a magnitude an output, and changes the weight as peft does", async () => {
  const base = openBase(join(FIXTURES, "sd15/base"));
  const lora = openLora(join(KINDS, "dora_conv.safetensors"));
  const { unet } = await addLoras(base, [{ id: "dora", lora, scale: 1 }], (network) => runOnce(network.graph()), 1e9);
  const name = "down_blocks.0.resnets.0.conv2";
  near("change", unet.feeds[`${name}:whole`]!, stored("dora_conv_change.safetensors")(name), 1e-5);
});

/** LoRA files by a key, and what they are told to be. */
const REFUSED: readonly (readonly [key: string, reason: RegExp])[] = [
  ["transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight", /Flux/],
  ["transformer.transformer_blocks.0.attn.to_q.lora_A.weight", /Stable Diffusion 3, Flux/],
  ["base_model.model.transformer_blocks.0.attn1.to_q.lora_A.weight", /a diffusion transformer/],
  ["lora_unet_double_blocks_0_img_attn_proj.lora_down.weight", /Flux/],
  ["diffusion_model.joint_blocks.0.x_block.attn.qkv.lora_A.weight", /Stable Diffusion 3/],
  ["diffusion_model.blocks.0.self_attn.q.lora_A.weight", /Wan/],
  ["diffusion_model.layers.0.attention.qkv.lora_A.weight", /a diffusion transformer/],
  ["lora_prior_unet_down_blocks_0_0_channelwise_0.lora_down.weight", /Stable Cascade/],
  ["lora_te3_encoder_block_0.lora_down.weight", /Stable Diffusion 3/],
  ["unet.down_blocks.0.motion_modules.0.proj_in.lora_A.weight", /AnimateDiff/],
  ["lora_unet_mid_block_attentions_0_norm.w_norm", /changes norms/],
  ["lora_unet_mid_block_attentions_0_proj_in.a1.weight", /GLoRA/],
  ["lora_unet_mid_block_attentions_0_proj_in.on_input", /\(IA\)³/],
  ["lora_unet_mid_block_attentions_0_proj_in.oft_blocks", /OFT and BOFT/],
  ["unet.mid_block.attentions.0.proj_in.oft_R.weight", /OFT and BOFT/],
  ["unet.mid_block.attentions.0.proj_in.vera_lambda_b", /VeRA/],
  ["unet.mid_block.attentions.0.proj_in.lora_B.bias", /factors have biases/],
  ["bundle_emb.sty.string_to_param.*", /brings textual inversions/],
  ["lllite_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q.down.0.weight", /ControlNet-LLLite/],
  ["image_proj.proj.weight", /IP-Adapter/],
  ["emb_params", /textual inversion/],
];

test("a LoRA of another family, or of a kind that is not served, is refused by its name, wherever the key stands", () => {
  const source = { dtype: "F32", shape: [4, 4], offset: 0, length: 64, location: "" } as const;
  const place = "unet.down_blocks.0.attentions.0.proj_in";
  for (const [key, reason] of REFUSED) {
    const names = [`${place}.lora_A.weight`, `${place}.lora_B.weight`, key];
    assert.throws(() => layerChanges(new Map(names.map((name) => [name, source]))), reason, key);
  }
});

test("IP-Adapters of faces and T2I-Adapters of style are refused by their names", () => {
  const write = (keys: readonly string[]) => {
    const file = join(folder, "one.safetensors");
    writeRaw(file, new Map(keys.map((key) => [key, { dtype: "F32", shape: [1, 1], bytes: new Uint8Array(4) }])));
    return file;
  };
  const face = ["image_proj.proj.0.weight", "image_proj.norm.weight", "ip_adapter.0.to_q_lora.down.weight"];
  assert.throws(() => openIpAdapter(write(face)), /FaceID/);
  assert.throws(() => openIpAdapter(write(["image_proj.perceiver_resampler.proj_in.weight"])), /FaceID/);
  assert.throws(() => openT2iAdapterFile(write(["style_embedding", "ln_post.weight"])), /for style/);
});

test("a U-Net alone, as few-step models are published, is refused with what it is for", () => {
  const file = join(FIXTURES, "sdxl/base/unet/diffusion_pytorch_model.safetensors");
  assert.throws(() => openSingleFile(file), /a U-Net alone, as SDXL-Lightning.* as unet\/diffusion_pytorch_model/);
});

test("what a header says of alpha must be an object", () => {
  const file = join(folder, "header.safetensors");
  const header = Buffer.from(
    JSON.stringify({
      __metadata__: { lora_adapter_metadata: "null" },
      ...{ "unet.mid_block.attentions.0.proj_in.lora_A.weight": { dtype: "F32", shape: [1, 1], data_offsets: [0, 4] } },
      ...{ "unet.mid_block.attentions.0.proj_in.lora_B.weight": { dtype: "F32", shape: [1, 1], data_offsets: [4, 8] } },
    }),
  );
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  writeFileSync(file, Buffer.concat([length, header, Buffer.alloc(8)]));
  assert.throws(() => openLora(file), /not a JSON object/);
});
