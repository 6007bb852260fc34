/** What peft's adapter_config.json says of a LoRA beside it. Its pictures: 59.4 dB and more to peft's, for each key that is read here. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import type { LayerChange } from "../../../src/models/lora/keys.ts";
import { parsePeftConfig } from "../../../src/models/lora/peft-config.ts";
import { loras } from "../../../workers/generate/adapter-shelves.ts";
import { writeRaw } from "../../support/rewrite.ts";

const dir = mkdtempSync(join(tmpdir(), "peft-"));
after(() => rmSync(dir, { recursive: true }));

const change = (name: string): LayerChange => ({
  component: "unet",
  layer: name.replaceAll(".", "_"),
  kind: "low_rank",
  parts: { down: `base_model.model.${name}.lora_A.weight`, up: `base_model.model.${name}.lora_B.weight` },
});
const LORA = { peft_type: "LORA", r: 4, lora_alpha: 6 };

test("alpha over rank, by the layer and by the root of the rank", () => {
  const said = { ...LORA, rank_pattern: { "attn1.to_q": 2 }, alpha_pattern: { "^mid.to_v": 1, "to_.*": 9, to_v: 8 } };
  assert.throws(() => parsePeftConfig(said), /alpha_pattern "to_\.\*" is no name/);
  const { scaleOf } = parsePeftConfig({ ...said, alpha_pattern: { "^mid.to_v": 1, to_v: 8 } });
  assert.equal(scaleOf(change("mid.attn2.to_q"), 4), 1.5);
  assert.equal(scaleOf(change("mid.attn1.to_q"), 2), 3);
  assert.equal(scaleOf(change("mid.to_v"), 4), 0.25);
  assert.equal(scaleOf(change("up.mid.to_v"), 4), 2);
  assert.throws(() => scaleOf(change("mid.to_q"), 3), /mid\.to_q has rank 4, its tensors 3/);
  assert.equal(parsePeftConfig({ ...LORA, use_rslora: true }).scaleOf(change("mid.to_q"), 4), 3);
  assert.equal(parsePeftConfig({ peft_type: "LORA" }).scaleOf(change("mid.to_q"), 8), 1);
});

test("what a config asks for and is not carried out is refused by its key; what is off is not", () => {
  for (const [key, value] of Object.entries({
    peft_type: "LOHA",
    bias: "lora_only",
    init_lora_weights: "pissa_niter_4",
    fan_in_fan_out: true,
    modules_to_save: ["conv_out"],
    layer_replication: [[0, 4]],
    some_key_of_tomorrow: 3,
  })) {
    assert.throws(() => parsePeftConfig({ ...LORA, [key]: value }), new RegExp(`"${key}"`));
  }
  parsePeftConfig({ ...LORA, modules_to_save: null, fan_in_fan_out: false, megatron_config: {}, use_tomorrow: null });
  const other = { ...LORA, auto_mapping: { base_model_class: "FluxTransformer2DModel" } };
  assert.throws(() => parsePeftConfig(other), /a LoRA of a FluxTransformer2DModel/);
});

test("a folder of peft's is a LoRA, of the network that its config names; without the config it is refused", () => {
  const name = "encoder.layers.0.mlp.fc1";
  const { down, up } = change(name).parts;
  const tensor = { dtype: "F32", shape: [4, 4], bytes: new Uint8Array(64) };
  const tensors = new Map([
    [down!, tensor],
    [up!, tensor],
  ]);
  const folder = join(dir, "mine");
  mkdirSync(folder);
  writeRaw(join(folder, "adapter_model.safetensors"), tensors);
  assert.throws(() => loras.openFolder(folder), /adapter_config\.json, in which peft keeps alpha, is missing/);
  const config = { ...LORA, auto_mapping: { base_model_class: "CLIPTextModel" } };
  writeFileSync(join(folder, "adapter_config.json"), JSON.stringify(config));
  const lora = loras.openFolder(folder);
  assert.deepEqual(
    lora.changes.map(({ component, layer }) => [component, layer]),
    [["text_encoder", "encoder_layers_0_mlp_fc1"]],
  );
  assert.equal(lora.alphaOf(lora.changes[0]!, 4), 6);
  writeRaw(join(dir, "renamed.safetensors"), tensors);
  assert.throws(() => loras.openFile(join(dir, "renamed.safetensors")), /peft keeps alpha in adapter_config\.json/);
});
