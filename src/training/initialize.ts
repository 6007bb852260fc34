/** Parameters before the first step. */
import { NoiseGenerator } from "../diffusion/noise.ts";
import { clip } from "../models/clip.ts";
import type { ClipConfig, ControlnetConfig, UnetConfig, VaeConfig } from "../models/config.ts";
import { controlnet, hintEncoder } from "../models/controlnet.ts";
import { unet } from "../models/unet.ts";
import { vaeDecoder, vaeEncoder } from "../models/vae.ts";
import { weightShapes } from "../models/weights.ts";
import { type Block, block, type Shapes } from "./parameters.ts";

export const controlnetShapes = (config: ControlnetConfig): Shapes =>
  weightShapes((w) => [controlnet(w, config), hintEncoder(w, config)]);
export const unetShapes = (config: UnetConfig): Shapes => weightShapes((w) => unet(w, config));
export const vaeShapes = (config: VaeConfig): Shapes =>
  weightShapes((w) => [vaeEncoder(w, config), vaeDecoder(w, config)]);
/** Without the projection that only SDXL's second tower has. */
export const clipShapes = (config: ClipConfig): Shapes =>
  weightShapes(
    (w) => clip(w, config),
    (name) => name === "text_projection.weight",
  );

type Fill = (data: Float32Array, noise: NoiseGenerator) => void;

const constant =
  (value: number): Fill =>
  (data) =>
    data.fill(value);
const normal =
  (deviation: number): Fill =>
  (data, noise) =>
    data.set(noise.normal(data.length).map((value) => value * deviation));
/** torch's default for linear layers and convolutions, kaiming_uniform with a = √5: uniform within ±1/√fan_in. */
const uniform =
  (fanIn: number): Fill =>
  (data, noise) =>
    data.set(noise.uniform(data.length).map((value) => (2 * value - 1) / Math.sqrt(fanIn)));

const fanIn = (shape: readonly number[]) => shape.slice(1).reduce((product, dim) => product * dim, 1);

/** What torch fills a fresh layer with; a text encoder's tables as transformers' CLIP does. */
function fresh(name: string, shapes: Shapes): Fill {
  const shape = shapes.get(name)!;
  if (name.endsWith("embedding.weight")) {
    return normal(0.02);
  }
  if (shape.length > 1) {
    return uniform(fanIn(shape));
  }
  if (name.endsWith(".weight")) {
    return constant(1); // a norm's
  }
  const weight = shapes.get(name.replace(/bias$/, "weight"))!;
  return weight.length > 1 ? uniform(fanIn(weight)) : constant(0);
}

/** A network that has learned nothing. */
export function initialize(shapes: Shapes, seed: number): Block {
  const parameters = block(shapes);
  const noise = new NoiseGenerator(seed);
  for (const [name, { data }] of parameters.tensors) {
    fresh(name, shapes)(data, noise);
  }
  return parameters;
}

/** 1 / √E[silu(x)²] of normal x. */
const SILU_GAIN = 1.68;

const scaled =
  (gain: number) =>
  (name: string, shapes: Shapes): Fill =>
    name.endsWith("bias") ? constant(0) : normal(gain / Math.sqrt(fanIn(shapes.get(name)!)));
/** What passes keeps its size, layer after layer: He et al. 2015 (arXiv 1502.01852), for silu. */
const sizeKeeping = scaled(SILU_GAIN);
const gaussian = scaled(1);
const zero = () => constant(0);

/**
 * How what is not copied from the base starts. `zero`: the convolutions that join a ControlNet to its base at 0, the hint encoder
 * keeping the hint's size. `gaussian`: the paper's ablation, the joints like any other layer. `diffusers`: the hint encoder as diffusers starts
 * it: each of its layers makes the hint some three times smaller, and their biases drown it until the weights have grown.
 */
export type Start = "zero" | "gaussian" | "diffusers";

const starts: Readonly<Record<Start, { readonly joint: typeof fresh; readonly hintEncoder: typeof fresh }>> = {
  zero: { joint: zero, hintEncoder: sizeKeeping },
  gaussian: { joint: gaussian, hintEncoder: sizeKeeping },
  diffusers: { joint: zero, hintEncoder: fresh },
};

/** One convolution a residual, and the hint encoder's last layer. */
const isJoint = (name: string) => /^controlnet_(down_blocks|mid_block|cond_embedding\.conv_out)\b/.test(name);

/**
 * An untrained ControlNet (arXiv 2302.05543, section 3.1): a copy of the base's encoder and middle block, a fresh hint encoder, and
 * zero convolutions, so that its residuals are 0 and the base's picture is unchanged.
 */
export function controlnetFrom(base: Block, config: ControlnetConfig, seed: number, start: Start = "zero"): Block {
  const shapes = controlnetShapes(config);
  const parameters = block(shapes);
  const noise = new NoiseGenerator(seed);
  const { joint, hintEncoder } = starts[start];
  for (const [name, { data }] of parameters.tensors) {
    const copied = base.tensors.get(name);
    if (copied !== undefined) {
      data.set(copied.data);
    } else {
      (isJoint(name) ? joint : hintEncoder)(name, shapes)(data, noise);
    }
  }
  return parameters;
}
