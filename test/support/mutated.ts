/** Networks of the sd15 fixture under another config, on the inputs of test/fixtures/make/mutations.py. */
import { join } from "node:path";
import { noFeatures } from "../../src/diffusion/adapters/t2i-adapters.ts";
import { noResiduals } from "../../src/diffusion/control.ts";
import { toVae } from "../../src/diffusion/latents.ts";
import { controlNetOf } from "../../src/models/base.ts";
import { findCheckpoint } from "../../src/models/checkpoint.ts";
import { clip } from "../../src/models/clip.ts";
import {
  clipConfig,
  controlnetConfig,
  type EncoderConfig,
  parseConfig,
  unetConfig,
  vaeConfig,
} from "../../src/models/config.ts";
import { requireLevels } from "../../src/models/levels.ts";
import { storedNetwork } from "../../src/models/network.ts";
import { requireClass } from "../../src/models/recognize-class.ts";
import { textConfig } from "../../src/models/text-tower.ts";
import { unet } from "../../src/models/unet.ts";
import { requireRead } from "../../src/models/unread.ts";
import { vaeDecoder, vaeEncoder } from "../../src/models/vae.ts";
import type { Tensor } from "../../src/onnx/tensor.ts";
import { runner, SD15 } from "./tiny.ts";

/** A config as it is read, and the values at four places of what its networks give. */
export interface Mutated {
  readonly config: object;
  /** @throws what the weights do not fit */
  readonly values: () => Promise<number[]>;
}

const product = (dims: readonly number[]) => dims.reduce((size, dim) => size * dim, 1);
const wave = (dims: readonly number[], phase: number): Tensor => ({
  dims,
  data: Float32Array.from({ length: product(dims) }, (_, i) => Math.sin(i * 0.7 + phase)),
});

function atFourPlaces(...tensors: (Tensor | undefined)[]): number[] {
  const all = tensors.flatMap((tensor) => [...(tensor!.data as Float32Array)]);
  const { length } = all;
  return [0, Math.floor(length / 3), Math.floor(length / 2), length - 1].map((i) => all[i]!);
}

const B = 2;
const told = (config: EncoderConfig) => ({
  sample: wave([B, config.in_channels, 8, 8], 1),
  timestep: { dims: [B], data: Float32Array.of(500, 500) },
  encoder_hidden_states: wave([B, 7, config.cross_attention_dim], 2),
});
const DIFFUSERS = "diffusion_pytorch_model";

function ofUnet(json: object): Mutated {
  requireClass(json, "unet", "UNet2DConditionModel");
  const config = parseConfig(unetConfig, json, "unet");
  requireLevels(config, "unet");
  return {
    config,
    async values() {
      const checkpoint = findCheckpoint(join(SD15, "base/unet"), DIFFUSERS);
      const network = storedNetwork(checkpoint, (w) => unet(w, config));
      requireRead(checkpoint.tensors.keys(), [network], "unet");
      const { out } = await runner(network)({ ...told(config), ...noResiduals(config), ...noFeatures(config) });
      return atFourPlaces(out);
    },
  };
}

function ofControlnet(json: object): Mutated {
  requireClass(json, "controlnet", "ControlNetModel");
  const config = parseConfig(controlnetConfig, json, "controlnet");
  requireLevels(config, "controlnet");
  return {
    config,
    async values() {
      const { networks } = controlNetOf(config, findCheckpoint(join(SD15, "controlnets/canny"), DIFFUSERS), []);
      const { data } = wave([B, 3, 64, 64], 3);
      const hint = { dims: [B, 3, 64, 64], data: (data as Float32Array).map((value) => (value + 1) / 2) };
      const { hint_embedding } = await runner(networks.hint)({ hint });
      const none = noResiduals(config);
      const names = Object.keys(none);
      const outputs = await runner(networks.controlnet)({
        ...told(config),
        ...none,
        hint_embedding: hint_embedding!,
        rows: { dims: [B], data: BigInt64Array.of(0n, 1n) },
        scales: { dims: [B, names.length], data: new Float32Array(B * names.length).fill(1) },
        ...Object.fromEntries(
          config.block_out_channels.map((_, k) => [`mask_${k}`, { dims: [1, 1, 1, 1], data: Float32Array.of(1) }]),
        ),
      });
      return atFourPlaces(...names.map((name) => outputs[`${name}_out`]));
    },
  };
}

function ofVae(json: object): Mutated {
  requireClass(json, "vae", "AutoencoderKL");
  const config = parseConfig(vaeConfig, json, "vae");
  return {
    config,
    async values() {
      const checkpoint = findCheckpoint(join(SD15, "base/vae"), DIFFUSERS);
      const decoder = storedNetwork(checkpoint, (w) => vaeDecoder(w, config));
      const encoder = storedNetwork(checkpoint, (w) => vaeEncoder(w, config));
      requireRead(checkpoint.tensors.keys(), [decoder, encoder], "vae");
      const dims = [1, config.latent_channels, 8, 8];
      const oneTower = Array(1) as never;
      const data = toVae({ vae: config, text: oneTower }, wave(dims, 1).data as Float32Array);
      return atFourPlaces((await runner(decoder)({ latents: { dims, data } })).image);
    },
  };
}

function ofText(json: object): Mutated {
  const config = parseConfig(clipConfig, textConfig(json), "text_encoder");
  return {
    config,
    async values() {
      const checkpoint = findCheckpoint(join(SD15, "base/text_encoder"), "model");
      const network = storedNetwork(checkpoint, (w) => clip(w, config, 77));
      requireRead(checkpoint.tensors.keys(), [network], "text_encoder");
      const ids = BigInt64Array.from({ length: 77 }, (_, i) => BigInt(i % 40));
      const { normed } = await runner(network)({
        input_ids: { dims: [1, 77], data: ids },
        layer: { dims: [1], data: BigInt64Array.of(BigInt(config.num_hidden_layers)) },
        pooling: { dims: [1, 1, 77], data: new Float32Array(77) },
      });
      return atFourPlaces(normed);
    },
  };
}

/** Each network, its folder below the sd15 fixture, and how a config of it is opened. */
export const MUTATED = {
  unet: { folder: "base/unet", open: ofUnet },
  controlnet: { folder: "controlnets/canny", open: ofControlnet },
  vae: { folder: "base/vae", open: ofVae },
  text_encoder: { folder: "base/text_encoder", open: ofText },
} satisfies Record<string, { folder: string; open: (json: object) => Mutated }>;
