/** What lies in a wrong place, or is of a family that is not served, is refused by what it is. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, suite, test } from "node:test";
import { openBase } from "../../src/models/base.ts";
import { readCheckpoint } from "../../src/models/checkpoint.ts";
import { refuseForeignFile } from "../../src/models/recognize.ts";
import type { WeightSource } from "../../src/models/weights.ts";
import { openLibrary } from "../../workers/generate/library.ts";

const dir = mkdtempSync(join(tmpdir(), "recognize-"));
after(() => rmSync(dir, { recursive: true }));

const UNET = "model.diffusion_model.input_blocks.0.0.weight";

/** Names of tensors as the published files have them, and what is said of a file with such. */
const FILES: Record<string, readonly [readonly string[], RegExp]> = {
  "Stable Diffusion 3": [
    ["model.diffusion_model.joint_blocks.0.context_block.attn.qkv.weight"],
    /: Stable Diffusion 3 /,
  ],
  "SD 3 in diffusers' names": [["transformer_blocks.0.attn.add_q_proj.weight"], /: Stable Diffusion 3 /],
  Flux: [["model.diffusion_model.double_blocks.0.img_attn.qkv.weight", "vae.decoder.conv_in.weight"], /: Flux /],
  "Flux in diffusers' names": [["single_transformer_blocks.0.attn.to_q.weight", "x_embedder.weight"], /: Flux /],
  "Flux in nf4": [["double_blocks.0.img_attn.qkv.weight.quant_state.bitsandbytes__nf4"], /quantized by bitsandbytes/],
  "Stable Cascade, stage C": [["model.diffusion_model.clip_txt_mapper.weight"], /: Stable Cascade /],
  "Stable Cascade, stage B": [["clip_mapper.weight", "down_blocks.0.0.channelwise.0.weight"], /: Stable Cascade /],
  PixArt: [["blocks.0.cross_attn.kv_linear.weight", "y_embedder.y_embedding"], /: PixArt /],
  AuraFlow: [["model.double_layers.0.attn.w1k.weight"], /: AuraFlow /],
  Kandinsky: [["encoder_hid_proj.image_embeds.weight", "conv_in.weight"], /: Kandinsky /],
  Kolors: [["encoder_hid_proj.weight", "conv_in.weight"], /: Kolors /],
  "DeepFloyd IF": [["add_embedding.pool.positional_embedding", "encoder_hid_proj.weight"], /: DeepFloyd IF /],
  "Hunyuan-DiT": [["blocks.0.attn1.Wqkv.weight", "mlp_t5.0.weight"], /: Hunyuan-DiT /],
  Sana: [["caption_norm.weight", "transformer_blocks.0.attn1.to_q.weight"], /: Sana /],
  "Qwen-Image": [
    ["transformer_blocks.0.img_mod.1.weight", "transformer_blocks.0.attn.add_q_proj.bias"],
    /: Qwen-Image /,
  ],
  "Stable Video Diffusion": [
    ["model.diffusion_model.input_blocks.1.0.time_stack.in_layers.0.weight"],
    /Video Diffusion /,
  ],
  "AnimateDiff's motion modules": [
    ["down_blocks.0.motion_modules.0.temporal_transformer.norm.weight"],
    /: AnimateDiff /,
  ],
  "the x4 upscaler": [[UNET, "model.diffusion_model.label_emb.weight"], /: the SD x4 upscaler /],
  "SD 2 unCLIP": [[UNET, "noise_augmentor.data_mean"], /: SD 2 unCLIP /],
  "SD 2 with depth": [[UNET, "depth_model.model.pretrained.cls_token"], /depth input/],
  Zero123: [[UNET, "cc_projection.weight"], /: Zero123 /],
  GLIGEN: [[UNET, "model.diffusion_model.position_net.linears.0.weight"], /: GLIGEN /],
  AltDiffusion: [[UNET, "cond_stage_model.roberta.embeddings.word_embeddings.weight"], /: AltDiffusion /],
  "a LoRA of kohya's": [["lora_unet_mid_block_attentions_0_proj_in.lora_up.weight"], /a LoRA belongs into loras/],
  "a LoRA of old diffusers": [["unet.down_blocks.0.processor.to_q_lora.down.weight"], /a LoRA belongs into loras/],
  "a T2I-Adapter": [["adapter.body.0.in_conv.weight"], /a T2I-Adapter belongs into adapters/],
  "an IP-Adapter": [["image_proj.proj.weight"], /an IP-Adapter belongs into ip_adapters/],
  "a textual inversion": [["clip_l", "clip_g"], /a textual inversion belongs into embeddings/],
  "a ControlNet": [["control_model.input_hint_block.0.weight"], /a ControlNet: it belongs into controlnets/],
  "a VAE": [["first_stage_model.decoder.up.0.block.0.conv1.weight"], /not a base model but a VAE alone/],
  "a VAE in diffusers' names": [["decoder.up_blocks.0.resnets.0.conv1.weight"], /a VAE alone/],
  TAESD: [["3.conv.0.weight"], /a tiny VAE/],
  "a deep-compression VAE": [["decoder.stages.0.op_list.0.main.conv1.conv.weight"], /deep-compression VAE/],
  "a consistency decoder": [["embed_image.weight"], /a consistency decoder/],
  "a U-Net in diffusers' names": [["conv_in.weight", "down_blocks.0.resnets.0.conv1.weight"], /a U-Net alone/],
  "a U-Net without prefix": [["input_blocks.0.0.weight"], /a U-Net alone/],
  "another prefix": [["diffusion_model.input_blocks.0.0.weight"], /under another prefix/],
  CLIP: [["text_model.embeddings.token_embedding.weight"], /a text encoder alone/],
  T5: [["encoder.block.0.layer.0.SelfAttention.q.weight", "shared.weight"], /\(T5\)/],
  "an upscaler": [["model.1.sub.0.RDB1.conv1.0.weight"], /an upscaler of pictures/],
};

suite("a file among the models", () => {
  for (const [name, [tensors, reason]] of Object.entries(FILES)) {
    test(name, () => {
      const file = new Map(tensors.map((tensor) => [tensor, {} as WeightSource]));
      assert.throws(() => refuseForeignFile(file), reason);
    });
  }
});

test("a base model among the ControlNets is said to be one", () => {
  const file = new Map([[UNET, {} as WeightSource]]);
  assert.throws(() => refuseForeignFile(file, "controlnets"), /not a ControlNet but a base model/);
  assert.doesNotThrow(() => refuseForeignFile(file));
});

/** Folders without a model_index.json, by the files in them. */
const FOLDERS: Record<string, readonly [Readonly<Record<string, string>>, RegExp]> = {
  "a U-Net's folder": [{ "config.json": '{"_class_name": "UNet2DConditionModel"}' }, /a U-Net alone/],
  "a VAE's folder": [{ "config.json": '{"_class_name": "AutoencoderKL"}' }, /a VAE alone/],
  "a transformer of Flux": [{ "config.json": '{"_class_name": "FluxTransformer2DModel"}' }, /\(Flux\)/],
  "a ControlNet's folder": [{ "config.json": '{"_class_name": "ControlNetModel"}' }, /belongs into controlnets/],
  "a text encoder's folder": [{ "config.json": '{"architectures": ["CLIPTextModel"]}' }, /a text encoder alone/],
  "a model of which the U-Net alone was fetched": [{ "unet/config.json": "{}" }, /it has unet alone/],
  "a LoRA's folder": [{ "pytorch_lora_weights.safetensors": "" }, /a LoRA, which belongs into loras/],
  "a modular pipeline": [{ "modular_model_index.json": "{}" }, /a modular pipeline/],
  "an export to ONNX": [{ "unet/model.onnx": "" }, /an export to ONNX/],
  "an export to OpenVINO": [{ "unet/openvino_model.xml": "" }, /an export to OpenVINO/],
  "nothing at all": [{ ".keep/x": "" }, /model_index\.json is missing$/],
};

suite("a folder among the models", () => {
  for (const [name, [files, reason]] of Object.entries(FOLDERS)) {
    test(name, () => {
      const folder = mkdtempSync(join(dir, "folder-"));
      for (const [file, text] of Object.entries(files)) {
        mkdirSync(dirname(join(folder, file)), { recursive: true });
        writeFileSync(join(folder, file), text);
      }
      assert.throws(() => openBase(folder), reason);
    });
  }
});

/** What comes under the name of a .safetensors file. */
const BYTES: Record<string, readonly [string | Buffer, RegExp]> = {
  "a web page": ["\ufeff<!-- page --><!DOCTYPE html>", /a web page/],
  "a server's message": [
    "Access to model x/y is restricted.",
    /text, not a model: "Access to model x\/y is restricted\."/,
  ],
  "a server's message in JSON": ['{"statusCode":404}', /a server's error message/],
  "an archive": [Buffer.from("Rar!\u001a\u0007\0 and more"), /a packed archive/],
  "a picture": [Buffer.from("\u0089PNG\r\n\u001a\n and more", "latin1"), /a picture, not a model/],
  "an empty file": ["", /an empty file/],
  "a file of zeros": [Buffer.alloc(4096), /a file of zeros/],
};

suite("bytes that are no model", () => {
  for (const [name, [bytes, reason]] of Object.entries(BYTES)) {
    test(name, () => {
      const file = join(dir, "file.safetensors");
      writeFileSync(file, bytes);
      assert.throws(() => readCheckpoint(file), reason);
    });
  }
});

test("files of other forms are said to be that", () => {
  const models = mkdtempSync(join(dir, "models-"));
  const ends = {
    gguf: /GGUF/,
    onnx: /ONNX/,
    crdownload: /not finished/,
    zip: /unpack/,
    sft: /must end in \.safetensors/,
  };
  for (const end of Object.keys(ends)) writeFileSync(join(models, `model.${end}`), "x");
  const { skipped } = openLibrary(models).catalog;
  for (const [end, reason] of Object.entries(ends)) {
    assert.match(skipped.find(({ id }) => id === `model.${end}`)!.reason, reason);
  }
});
