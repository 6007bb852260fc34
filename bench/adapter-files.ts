/** Adapters for the SD 1.5 of checkpoint.ts, of its size and with random F16 weights. */
import { cpSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { openBase } from "../src/models/base.ts";
import { clipVision } from "../src/models/clip-vision.ts";
import { clipVisionConfig, controlnetConfig, parseConfig } from "../src/models/config.ts";
import { controlnet } from "../src/models/controlnet.ts";
import { crossAttentions, IMAGE_ENCODER } from "../src/models/ip-adapter.ts";
import { namedLayers } from "../src/models/lora/layers.ts";
import { unionHintEncoder } from "../src/models/union.ts";
import type { Weights } from "../src/models/weights.ts";
import { writeComponent, writeSd15, writeWeights } from "./checkpoint.ts";

/** The layers that kohya's scripts train unless told otherwise: attention, its projections, and the layers between. */
const TRAINED = /attn|proj_(in|out)|\.ff\.|mlp/;
const TOKENS = 4;
const EMBEDS = 1024;

/** @param count of equal files, each its own */
async function writeLoras(models: string, rank: number, count: number): Promise<void> {
  const { networks, text } = openBase(join(models, "base"));
  const shapes = new Map<string, readonly number[]>();
  for (const [component, network] of [["unet", networks.unet] as const, ["text_encoder", text[0]!.network] as const]) {
    for (const [path, { weight }] of namedLayers(network)) {
      if (!TRAINED.test(path)) continue;
      const [out, inner, ...kernel] = weight.shape as [number, number, ...number[]];
      shapes.set(`${component}.${path}.lora_A.weight`, [rank, inner, ...kernel]);
      shapes.set(`${component}.${path}.lora_B.weight`, [out, rank, ...kernel.map(() => 1)]);
    }
  }
  mkdirSync(join(models, "loras"), { recursive: true });
  const file = (i: number) => join(models, "loras", `lora-${i}.safetensors`);
  await writeWeights(file(0), shapes);
  for (let i = 1; i < count; i++) cpSync(file(0), file(i));
}

/** A classic IP-Adapter. Its encoder is small: it is run once a picture, not once a step. */
async function writeIpAdapter(models: string): Promise<void> {
  const { networks, unet } = openBase(join(models, "base"));
  const width = unet.cross_attention_dim as number;
  const shapes = new Map<string, readonly number[]>([
    ["image_proj.proj.weight", [TOKENS * width, EMBEDS]],
    ["image_proj.proj.bias", [TOKENS * width]],
    ["image_proj.norm.weight", [width]],
    ["image_proj.norm.bias", [width]],
  ]);
  for (const [i, { width: own }] of crossAttentions(networks.unet).entries()) {
    for (const which of ["k", "v"]) shapes.set(`ip_adapter.${2 * i + 1}.to_${which}_ip.weight`, [own, width]);
  }
  const folder = join(models, "ip_adapters");
  mkdirSync(folder, { recursive: true });
  await writeWeights(join(folder, "ip.safetensors"), shapes);
  const settings = {
    hidden_size: 64,
    intermediate_size: 256,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    projection_dim: EMBEDS,
  };
  const config = parseConfig(clipVisionConfig, settings, "clip");
  await writeComponent(join(folder, IMAGE_ENCODER), "model", settings, (w) => clipVision(w, config));
}

/** A ControlNet-Union beside SD 1.5: none was published, but its cost is that of a ControlNet and its hints. */
async function writeUnion(models: string): Promise<void> {
  const union = { types: 6, layers: 1 };
  const plain = JSON.parse(readFileSync(join(models, "controlnets/a/config.json"), "utf8"));
  const settings = { ...plain, addition_time_embed_dim: 256 };
  const config = { ...parseConfig(controlnetConfig, settings, "controlnet"), union };
  const networks = [(w: Weights) => controlnet(w, config), (w: Weights) => unionHintEncoder(w, config, union)];
  await writeComponent(join(models, "controlnets/union"), "diffusion_pytorch_model", settings, ...networks);
}

/** A MODELS_DIR with SD 1.5, ControlNet `a`, Union `union`, IP-Adapter `ip`, and LoRA `lora-0`, `lora-1` … */
export async function writeAdapters(models: string, rank: number, loras: number): Promise<void> {
  await writeSd15(models, ["a"]);
  await writeLoras(models, rank, loras);
  await writeIpAdapter(models);
  await writeUnion(models);
}
