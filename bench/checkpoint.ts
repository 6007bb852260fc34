/** Checkpoints with the names and shapes of released ones and random weights: as diffusers' folders, and as single files. */
import { once } from "node:events";
import { cpSync, createWriteStream, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { finished } from "node:stream/promises";
import { clip } from "../src/models/clip.ts";
import {
  clipConfig,
  controlnetConfig,
  parseConfig,
  tinyVaeConfig,
  unetConfig,
  vaeConfig,
} from "../src/models/config.ts";
import { controlnet, hintEncoder } from "../src/models/controlnet.ts";
import { families } from "../src/models/families.ts";
import { tinyDecoder } from "../src/models/tiny-vae.ts";
import { unet } from "../src/models/unet.ts";
import { vaeDecoder, vaeEncoder } from "../src/models/vae.ts";
import { type Weights, weightShapes } from "../src/models/weights.ts";
import { published } from "../test/support/original.ts";
import { openLibrary } from "../workers/generate/library.ts";

const POOL = 1 << 20;
/** Uniform in -1 … 1; which values a weight has does not matter, only that activations stay finite. */
const random = Float32Array.from({ length: POOL }, () => 2 * Math.random() - 1);

const size = (shape: readonly number[]) => shape.reduce((product, dim) => product * dim, 1);

/**
 * The float16 values of a weight, of about the size that torch initialises a layer with. Weights of one shape are equal, and
 * so a folder and a single file of the same model hold the same.
 */
function* values(name: string, shape: readonly number[]): Generator<Uint8Array> {
  const count = size(shape);
  const isNormScale = shape.length === 1 && name.endsWith("weight");
  const bound = shape.length === 1 ? 0.01 : 1 / Math.sqrt(size(shape.slice(1)));
  const pool = new Float16Array(random.subarray(0, count).map((value) => (isNormScale ? 1 : value * bound)));
  for (let left = count; left > 0; left -= POOL) {
    yield new Uint8Array(pool.buffer, 0, 2 * Math.min(left, POOL));
  }
}

/** Writes tensors of these names and shapes, F16, as one safetensors file. */
export async function writeWeights(file: string, shapes: ReadonlyMap<string, readonly number[]>): Promise<void> {
  let offset = 0;
  const header = Object.fromEntries(
    [...shapes].map(([name, shape]) => {
      const start = offset;
      offset += 2 * size(shape);
      return [name, { dtype: "F16", shape, data_offsets: [start, offset] }];
    }),
  );
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const stream = createWriteStream(file);
  stream.write(length);
  stream.write(json);
  for (const [name, shape] of shapes) {
    for (const chunk of values(name, shape)) {
      if (!stream.write(chunk)) {
        await once(stream, "drain");
      }
    }
  }
  stream.end();
  await finished(stream);
}

/**
 * A released checkpoint in the original layout.
 * @param table of test/fixtures/original: "sd1" (2.1 GB), "sdxl" (6.9 GB), "controlnet-sdxl" (2.5 GB), …
 */
export async function writeSingleFile(file: string, table: string): Promise<void> {
  mkdirSync(join(file, ".."), { recursive: true });
  await writeWeights(file, new Map(published(table).map(({ name, shape }) => [name, shape])));
}

export async function writeComponent(
  dir: string,
  stem: string,
  config: object,
  ...networks: ((w: Weights) => unknown)[]
) {
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, "config.json"), JSON.stringify(config));
  const isAbsent = (name: string) => name === "text_projection.weight" || name.startsWith("vision_model.");
  const shapes = networks.flatMap((network) => [...weightShapes(network, isAbsent)]);
  await writeWeights(join(dir, `${stem}.safetensors`), new Map(shapes));
}

const STEM = "diffusion_pytorch_model";

const INDEX = {
  _class_name: "StableDiffusionPipeline",
  unet: ["diffusers", "UNet2DConditionModel"],
  vae: ["diffusers", "AutoencoderKL"],
  text_encoder: ["transformers", "CLIPTextModel"],
  tokenizer: ["transformers", "CLIPTokenizer"],
  scheduler: ["diffusers", "DDIMScheduler"],
};

/**
 * A MODELS_DIR with SD 1.5 as a folder, "base", and ControlNets for it; about 2.1 GB and 0.7 GB each.
 * @param width of all its layers; the released ones have 1
 */
export async function writeSd15(dir: string, controlnets: readonly string[], width = 1): Promise<void> {
  const wide = (...channels: number[]) => channels.map((count) => count * width);
  const [textSize, innerSize, textHeads] = wide(768, 3072, 12);
  const channels = { block_out_channels: wide(320, 640, 1280, 1280), cross_attention_dim: textSize };
  const configs = {
    unet: { ...channels, sample_size: 64 },
    controlnet: channels,
    vae: {
      block_out_channels: wide(128, 256, 512, 512),
      layers_per_block: 2,
      down_block_types: Array(4).fill("DownEncoderBlock2D"),
      up_block_types: Array(4).fill("UpDecoderBlock2D"),
    },
    text: { hidden_size: textSize, intermediate_size: innerSize, num_attention_heads: textHeads },
  };
  const base = join(dir, "base");
  const vae = parseConfig(vaeConfig, configs.vae, "vae");
  const text = parseConfig(clipConfig, configs.text, "clip");
  const control = parseConfig(controlnetConfig, configs.controlnet, "controlnet");
  const own = parseConfig(unetConfig, configs.unet, "unet");
  await writeComponent(join(base, "unet"), STEM, configs.unet, (w) => unet(w, own));
  const halves = [(w: Weights) => vaeDecoder(w, vae), (w: Weights) => vaeEncoder(w, vae)];
  await writeComponent(join(base, "vae"), STEM, configs.vae, ...halves);
  await writeComponent(join(base, "text_encoder"), "model", configs.text, (w) => clip(w, text));
  const [tower] = families.sd1.towers;
  cpSync(tower!.tokenizerFolder, join(base, "tokenizer"), { recursive: true });
  cpSync(join(tower!.tokenizerFolder, "../merges.txt"), join(base, "tokenizer/merges.txt"));
  mkdirSync(join(base, "scheduler"));
  writeFileSync(join(base, "scheduler", "scheduler_config.json"), JSON.stringify(families.sd1.scheduler));
  writeFileSync(join(base, "model_index.json"), JSON.stringify(INDEX));
  for (const id of controlnets) {
    const both = [(w: Weights) => controlnet(w, control), (w: Weights) => hintEncoder(w, control)];
    await writeComponent(join(dir, "controlnets", id), STEM, configs.controlnet, ...both);
  }
}

/** TAESD's decoder for SD 1.x, on the shelf of a MODELS_DIR: 2.4 MB. */
export async function writeTinyDecoder(dir: string): Promise<void> {
  const config = { _class_name: "AutoencoderTiny" };
  const settings = parseConfig(tinyVaeConfig, config, "taesd");
  await writeComponent(join(dir, "decoders", "taesd"), STEM, config, (w) => tinyDecoder(w, settings));
}

/** The ControlNets of writeFullSize. */
export const CONTROLNETS = ["a", "b"];

/** A MODELS_DIR with one SD 1.5 twice, the folder "base" and "single.safetensors", and ControlNets for it: 5.7 GB. */
export async function writeFullSize(dir: string): Promise<void> {
  await writeSd15(dir, CONTROLNETS);
  await writeSingleFile(join(dir, "single.safetensors"), "sd1");
}

/** What a generation loads, as float32. */
export function weightBytes(models: string, model: string, controlnets: readonly string[] = []): number {
  const library = openLibrary(models);
  const base = library.models.get(model)!;
  const { text, networks } = base;
  const own = [...text.map(({ network }) => network), networks.unet, networks.vae_decoder];
  const more = controlnets.flatMap((id) => {
    const { hint, controlnet } = library.controlnets.get(id)!.on(base).networks;
    return [hint, controlnet];
  });
  return [...own, ...more].reduce((sum, network) => sum + network.weightBytes, 0);
}
