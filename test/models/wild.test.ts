/** Forms of checkpoints as they are found: each gives the picture of the plain folder, or is refused by what it is. */
import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { openBase } from "../../src/models/base.ts";
import { readRaw, writeRaw } from "../support/rewrite.ts";
import { decibels, readRequest, serve } from "../support/served.ts";

const SDXL = join(import.meta.dirname, "../fixtures/sdxl");
const SD15 = join(import.meta.dirname, "../fixtures/sd15");
const CASE = join(SD15, "cases/plain_ddim");
const UNET = "unet/diffusion_pytorch_model";

const expected = readRaw(join(CASE, "expected.safetensors")).get("images")!.bytes;
const values = new Float32Array(new Uint8Array(expected).buffer);

const edit = (file: string, change: (config: Record<string, unknown>) => object) =>
  writeFileSync(file, JSON.stringify(change(JSON.parse(readFileSync(file, "utf8")))));

/** A float16 as a double, exactly. */
function half(bits: number): number {
  const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** What is done to the folder of a good checkpoint, and what must come of it: the same picture, or a reason. */
const FORMS: Record<string, { change: (base: string) => void; reason?: RegExp }> = {
  "half-precision weights beside the index of float32 files that are not there": {
    change(base) {
      renameSync(join(base, `${UNET}.safetensors`), join(base, `${UNET}.fp16.safetensors`));
      const weight_map = { "conv_in.bias": "diffusion_pytorch_model-00001-of-00002.safetensors" };
      writeFileSync(join(base, `${UNET}.safetensors.index.json`), JSON.stringify({ weight_map }));
    },
  },
  "weights in float64": {
    change(base) {
      const file = join(base, `${UNET}.safetensors`);
      const doubles = [...readRaw(file)].map(([name, { dtype, shape, bytes }]) => {
        assert.equal(dtype, "F16");
        const halves = new Uint16Array(new Uint8Array(bytes).buffer);
        return [name, { dtype: "F64", shape, bytes: new Uint8Array(Float64Array.from(halves, half).buffer) }] as const;
      });
      writeRaw(file, new Map(doubles));
    },
  },
  "keys that EMA training leaves in a config": {
    change: (base) =>
      edit(join(base, "unet/config.json"), (config) => ({
        ...config,
        decay: 0.9999,
        optimization_step: 1,
        power: 0.75,
      })),
  },
  "a text encoder of another length than the tokenizer": {
    change: (base) =>
      edit(join(base, "tokenizer/tokenizer_config.json"), (config) => ({ ...config, model_max_length: 248 })),
    reason: /model_max_length 248, but the text encoder has 77 positions/,
  },
  "a tensor that no network reads": {
    change(base) {
      const file = join(base, `${UNET}.safetensors`);
      const tensors = readRaw(file);
      tensors.set("task_embedding", { dtype: "F16", shape: [1], bytes: new Uint8Array(2) });
      writeRaw(file, tensors);
    },
    reason: /task_embedding/,
  },
  "a folder without a tokenizer": {
    change: (base) => rmSync(join(base, "tokenizer"), { recursive: true }),
    reason: /tokenizer has neither merges\.txt nor tokenizer\.json/,
  },
  "a part that is not named in the index": {
    change: (base) => edit(join(base, "model_index.json"), ({ vae, ...index }) => index),
    reason: /model_index\.json: vae is left out, not a library and a class/,
  },
  "a scheduler of another noise in the index": {
    change: (base) =>
      edit(join(base, "model_index.json"), (index) => ({
        ...index,
        scheduler: ["diffusers", "FlowMatchEulerDiscreteScheduler"],
      })),
    reason: /scheduler: FlowMatchEulerDiscreteScheduler is not supported/,
  },
  "a tokenizer that pads on the left": {
    change: (base) =>
      edit(join(base, "tokenizer/tokenizer_config.json"), (config) => ({ ...config, padding_side: "left" })),
    reason: /padding_side "left" is not supported/,
  },
  "a tokenizer that spells special tokens": {
    change: (base) =>
      edit(join(base, "tokenizer/tokenizer_config.json"), (config) => ({ ...config, split_special_tokens: true })),
    reason: /split_special_tokens true is not supported/,
  },
  "a tokenizer of another kind": {
    change: (base) =>
      edit(join(base, "model_index.json"), (index) => ({ ...index, tokenizer: ["transformers", "T5Tokenizer"] })),
    reason: /model_index\.json: tokenizer: T5Tokenizer/,
  },
  "special tokens that the vocabulary does not have": {
    change: (base) => edit(join(base, "tokenizer/special_tokens_map.json"), (map) => ({ ...map, pad_token: "<pad>" })),
    reason: /the vocabulary in tokenizer has no <pad>/,
  },
  "special tokens that are no texts": {
    change: (base) => edit(join(base, "tokenizer/special_tokens_map.json"), (map) => ({ ...map, bos_token: { a: 1 } })),
    reason: /bos_token \{"a":1\} is no token/,
  },
  "added tokens without numbers": {
    change: (base) => writeFileSync(join(base, "tokenizer/added_tokens.json"), '{"<cat-toy>": "first"}'),
    reason: /added token .*not a text with a number/,
  },
  "a length of texts that is none": {
    change: (base) =>
      edit(join(base, "tokenizer/tokenizer_config.json"), (config) => ({ ...config, model_max_length: "77" })),
    reason: /model_max_length "77" is no number of tokens/,
  },
  "a tokenizer that does not say how long its texts are": {
    change: (base) => edit(join(base, "tokenizer/tokenizer_config.json"), ({ model_max_length, ...config }) => config),
    reason: /model_max_length is missing/,
  },
  "a text encoder that is not to see a prompt's padding": {
    change: (base) =>
      edit(join(base, "text_encoder/config.json"), (config) => ({ ...config, use_attention_mask: true })),
    reason: /text_encoder\/config\.json: "use_attention_mask": true is not supported/,
  },
  "a text encoder's tensor that nothing reads": {
    change(base) {
      const file = join(base, "text_encoder/model.safetensors");
      const tensors = readRaw(file);
      tensors.set("text_model.encoder.layers.0.gate", { dtype: "F16", shape: [1], bytes: new Uint8Array(2) });
      writeRaw(file, tensors);
    },
    reason: /text_model\.encoder\.layers\.0\.gate/,
  },
  "a noise schedule of a billion timesteps": {
    change: (base) =>
      edit(join(base, "scheduler/scheduler_config.json"), (config) => ({ ...config, num_train_timesteps: 1e9 })),
    reason: /num_train_timesteps 1000000000 is not supported/,
  },
  "a git-lfs pointer": {
    change: (base) =>
      writeFileSync(
        join(base, `${UNET}.safetensors`),
        "version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 3438167540\n",
      ),
    reason: /git-lfs pointer/,
  },
  "a web page saved as weights": {
    change: (base) =>
      writeFileSync(join(base, `${UNET}.safetensors`), "<!DOCTYPE html><html><body>Sign in</body></html>"),
    reason: /HTML|web page/i,
  },
  "a U-Net of a class that is not one": {
    change: (base) => edit(join(base, "unet/config.json"), (config) => ({ ...config, _class_name: "UNetMotionModel" })),
    reason: /UNetMotionModel/,
  },
};

for (const [form, { change, reason }] of Object.entries(FORMS)) {
  test(`${form}: ${reason === undefined ? "the picture that diffusers makes" : "refused by what it is"}`, async (t) => {
    const models = mkdtempSync(join(tmpdir(), "wild-"));
    t.after(() => rmSync(models, { recursive: true }));
    const base = join(models, "base");
    cpSync(join(SD15, "base"), base, { recursive: true });
    change(base);
    const served = await serve(models, { ...readRequest(CASE), model: "base" });
    if (reason !== undefined) {
      assert.match("reason" in served ? served.reason : "a picture", reason);
      return;
    }
    assert.ok("pixels" in served, "reason" in served ? served.reason : "");
    const found = decibels(served.pixels, values);
    t.diagnostic(`${found.toFixed(1)} dB`);
    assert.ok(found >= 57, `${found} dB`);
  });
}

test("a prompt with a word that the tokenizer has and the text encoder has not: the generation says which", async (t) => {
  const models = mkdtempSync(join(tmpdir(), "wild-"));
  t.after(() => rmSync(models, { recursive: true }));
  cpSync(join(SD15, "base"), join(models, "base"), { recursive: true });
  writeFileSync(join(models, "base/tokenizer/added_tokens.json"), '{"<cat-toy>": 1014}');
  const asked = { ...readRequest(CASE), model: "base", prompt: "a <cat-toy>" };
  await assert.rejects(serve(models, asked), /the token "<cat-toy>", which the text encoder does not have/);
});

/** A changed file of an SDXL folder, what it says then, and why it is refused. */
const SDXL_FORMS: Record<string, [file: string, said: object, reason: RegExp]> = {
  "text encoders of two lengths": [
    "tokenizer_2/tokenizer_config.json",
    { model_max_length: 40 },
    /the text encoders read 77 and 40 tokens/,
  ],
  "a first text encoder whose projection diffusers would take for the second's": [
    "model_index.json",
    { text_encoder: ["transformers", "CLIPTextModelWithProjection"] },
    /CLIPTextModelWithProjection in place of SDXL's CLIPTextModel is not supported/,
  ],
  "a score beside the sizes": [
    "model_index.json",
    { requires_aesthetics_score: true },
    /requires_aesthetics_score \(the SDXL refiner/,
  ],
};

for (const [form, [file, said, reason]] of Object.entries(SDXL_FORMS)) {
  test(`SDXL with ${form}: refused`, async (t) => {
    const models = mkdtempSync(join(tmpdir(), "wild-"));
    t.after(() => rmSync(models, { recursive: true }));
    const base = join(models, "base");
    cpSync(join(SDXL, "base"), base, { recursive: true });
    edit(join(base, file), (config) => ({ ...config, ...said }));
    const served = await serve(models, { ...readRequest(CASE), model: "base" });
    assert.match("reason" in served ? served.reason : "a picture", reason);
  });
}

test("a negative prompt that is left out is zeros in SDXL where the index says nothing, the empty text where it says null", () => {
  const said = (value: unknown) => {
    const base = mkdtempSync(join(tmpdir(), "wild-"));
    try {
      cpSync(join(SDXL, "base"), base, { recursive: true });
      edit(join(base, "model_index.json"), (index) => ({ ...index, force_zeros_for_empty_prompt: value }));
      return openBase(base).force_zeros_for_empty_prompt;
    } finally {
      rmSync(base, { recursive: true });
    }
  };
  assert.deepEqual([undefined, true, null, 0, false].map(said), [true, true, false, false, false]);
});

test("a U-Net's size from before diffusers 0.9 that is below 64 is taken for 64, as diffusers does", (t) => {
  const base = mkdtempSync(join(tmpdir(), "wild-"));
  t.after(() => rmSync(base, { recursive: true }));
  cpSync(join(SD15, "base"), base, { recursive: true });
  const size = (version: string) => {
    edit(join(base, "unet/config.json"), (config) => ({ ...config, _diffusers_version: version, sample_size: 32 }));
    return openBase(base).unet.sample_size;
  };
  assert.deepEqual(["0.6.0", "0.8.1", "0.9.0", "0.40.0.dev0"].map(size), [64, 64, 32, 32]);
});
