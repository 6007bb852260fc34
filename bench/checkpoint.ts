/** A Stable Diffusion 1.5 of full size with random weights, and ControlNets for it, written in the diffusers layout. */
import { once } from "node:events";
import { cpSync, createWriteStream, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { finished } from "node:stream/promises";
import { clip } from "../src/models/clip.ts";
import { clipConfig, controlnetConfig, parseConfig, unetConfig, vaeConfig } from "../src/models/config.ts";
import { controlnet, hintEncoder } from "../src/models/controlnet.ts";
import { unet } from "../src/models/unet.ts";
import { vaeDecoder, vaeEncoder } from "../src/models/vae.ts";
import { type Weights, weightShapes } from "../src/models/weights.ts";

const VAE = {
  block_out_channels: [128, 256, 512, 512],
  layers_per_block: 2,
  down_block_types: Array(4).fill("DownEncoderBlock2D"),
  up_block_types: Array(4).fill("UpDecoderBlock2D"),
};
const CLIP = { hidden_size: 768, intermediate_size: 3072, num_attention_heads: 12 };
const UNET = { cross_attention_dim: 768, sample_size: 64 };
const CONTROLNET = { cross_attention_dim: 768 };
/** scheduler_config.json of the released model. */
const SCHEDULER = {
  _class_name: "PNDMScheduler",
  beta_start: 0.00085,
  beta_end: 0.012,
  beta_schedule: "scaled_linear",
  num_train_timesteps: 1000,
  set_alpha_to_one: false,
  skip_prk_steps: true,
  steps_offset: 1,
};

/** A small vocabulary: which tokens a prompt has does not matter, only that there are 77. */
const TOKENIZER = join(import.meta.dirname, "../test/fixtures/sd15/base/tokenizer");

const POOL = 1 << 20;
/** Uniform in -1 … 1; which values a weight has does not matter, only that activations stay finite. */
const random = Float32Array.from({ length: POOL }, () => 2 * Math.random() - 1);

/** `count` float16 values of about the size that torch initialises a layer with. */
function* values(name: string, shape: readonly number[], count: number): Generator<Uint8Array> {
  const isNormScale = shape.length === 1 && name.endsWith("weight");
  const bound = 1 / Math.sqrt(shape.slice(1).reduce((product, dim) => product * dim, 1));
  const pool = new Float16Array(random.map((value) => (isNormScale ? 1 : value * (shape.length === 1 ? 0.01 : bound))));
  for (let left = count; left > 0; left -= POOL) {
    yield new Uint8Array(pool.buffer, 0, 2 * Math.min(left, POOL));
  }
}

/** Writes every tensor that the networks read, F16, as one safetensors file. */
async function writeWeights(file: string, ...networks: ((weights: Weights) => unknown)[]): Promise<void> {
  const shapes = new Map(
    networks.flatMap((network) => [...weightShapes(network, (name) => name === "text_projection.weight")]),
  );
  const size = (shape: readonly number[]) => shape.reduce((product, dim) => product * dim, 1);
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
    for (const chunk of values(name, shape, size(shape))) {
      if (!stream.write(chunk)) {
        await once(stream, "drain");
      }
    }
  }
  stream.end();
  await finished(stream);
}

async function writeComponent(dir: string, stem: string, config: object, ...networks: ((w: Weights) => unknown)[]) {
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, "config.json"), JSON.stringify(config));
  await writeWeights(join(dir, `${stem}.safetensors`), ...networks);
}

const STEM = "diffusion_pytorch_model";

/** A MODELS_DIR with one base model, "base", and the ControlNets named; about 2.1 GB and 0.7 GB each. */
export async function writeFullSize(dir: string, controlnets: readonly string[]): Promise<void> {
  const base = join(dir, "base");
  const vae = parseConfig(vaeConfig, VAE, "vae");
  const text = parseConfig(clipConfig, CLIP, "clip");
  const control = parseConfig(controlnetConfig, CONTROLNET, "controlnet");
  await writeComponent(join(base, "unet"), STEM, UNET, (w) => unet(w, parseConfig(unetConfig, UNET, "unet")));
  await writeComponent(
    join(base, "vae"),
    STEM,
    VAE,
    (w) => vaeDecoder(w, vae),
    (w) => vaeEncoder(w, vae),
  );
  await writeComponent(join(base, "text_encoder"), "model", CLIP, (w) => clip(w, text));
  cpSync(TOKENIZER, join(base, "tokenizer"), { recursive: true });
  mkdirSync(join(base, "scheduler"));
  writeFileSync(join(base, "scheduler", "scheduler_config.json"), JSON.stringify(SCHEDULER));
  writeFileSync(join(base, "model_index.json"), JSON.stringify({ _class_name: "StableDiffusionPipeline" }));
  for (const id of controlnets) {
    const both = [(w: Weights) => controlnet(w, control), (w: Weights) => hintEncoder(w, control)];
    await writeComponent(join(dir, "controlnets", id), STEM, CONTROLNET, ...both);
  }
}
