/** What a training step computes: a loss, and its gradient toward every parameter, as one graph. */
import type { SchedulerConfig } from "../diffusion/scheduler-config.ts";
import { hiddenStates } from "../models/clip.ts";
import type { ClipConfig, ControlnetConfig, UnetConfig, VaeConfig } from "../models/config.ts";
import { controlResiduals, embedHint } from "../models/controlnet.ts";
import { conditionInputs, skipChannels } from "../models/encoder.ts";
import { denoise } from "../models/unet.ts";
import { CELL, vaeDecode, vaeEncode } from "../models/vae.ts";
import { type WeightStore, Weights } from "../models/weights.ts";
import { build, type Computation } from "../onnx/build.ts";
import { gradient } from "../onnx/gradient.ts";
import { abs, add, exp, mul, reduceMean, reshape, scale, slice, sub } from "../onnx/operators.ts";
import { constant, input, type Value } from "../onnx/value.ts";
import { type Shapes, TrainableWeights } from "./parameters.ts";

/** Sizes of a batch: latent cells where there are latents. */
export interface BatchSize {
  readonly batch: number;
  readonly height: number;
  readonly width: number;
}

type PredictionType = SchedulerConfig["prediction_type"];

/** The output that holds a parameter's gradient. */
export const gradientOf = (parameter: string) => `grad.${parameter}`;

/** The mean of all elements, []. */
export const mean = (x: Value) =>
  reshape(
    reduceMean(
      x,
      x.shape.map((_, axis) => axis),
    ),
    [],
  );
const square = (x: Value) => mul(x, x);

/** `loss` [] and `grad.<name>` of every parameter that the networks have asked for. */
function stepOf(inputs: readonly Value[], loss: Value, ...weights: TrainableWeights[]): Computation {
  const parameters = weights.flatMap((trained) => [...trained.inputs]);
  const gradients = gradient(
    loss,
    parameters.map(([, value]) => value),
  );
  const named = parameters.map(([name], i) => [gradientOf(name), gradients[i]!]);
  return {
    inputs: [...inputs, ...parameters.map(([, value]) => value)],
    outputs: { loss, ...Object.fromEntries(named) },
  };
}

/** The same as a graph. */
export function stepGraph(...parts: Parameters<typeof stepOf>): Uint8Array {
  const { inputs, outputs } = stepOf(...parts);
  return build(inputs, outputs);
}

const targets: Record<PredictionType, (x: Value, noise: Value, alpha: Value, sigma: Value) => Value> = {
  epsilon: (_, noise) => noise,
  /** Salimans & Ho 2022 (arXiv 2202.00512), appendix D. */
  v_prediction: (x, noise, alpha, sigma) => sub(mul(alpha, noise), mul(sigma, x)),
  sample: (x) => x,
};

/**
 * Ho et al. 2020 (arXiv 2006.11239), algorithm 1: latents x₀ and noise [B, C, h, w], alpha = √ᾱ_t and sigma = √(1 - ᾱ_t)
 * [B, 1, 1, 1] → what the network sees, and the mean squared error of what it makes of it.
 */
function diffusion(channels: number, { batch, height, width }: BatchSize, prediction: PredictionType) {
  const latents = input("latents", "float32", [batch, channels, height, width]);
  const noise = input("noise", "float32", [batch, channels, height, width]);
  const alpha = input("alpha", "float32", [batch, 1, 1, 1]);
  const sigma = input("sigma", "float32", [batch, 1, 1, 1]);
  const timestep = input("timestep", "float32", [batch]);
  return {
    inputs: [latents, noise, alpha, sigma, timestep],
    timestep,
    sample: add(mul(alpha, latents), mul(sigma, noise)),
    error: (out: Value) => mean(square(sub(out, targets[prediction](latents, noise, alpha, sigma)))),
  };
}

/** Of a batch with prompts. */
export interface ControlSize extends BatchSize {
  /** Of a prompt; absent = 77, CLIP's positions. */
  readonly tokens?: number;
}
const TOKENS = 77;

/**
 * A ControlNet on a locked base (arXiv 2302.05543, equation 5). Besides what `diffusion` names: encoder_hidden_states
 * [B, 77, D], hint [B, 3, 8h, 8w], and for SDXL text_embeds [B, P] and time_ids [B, 6]. `parameters` are the ControlNet's.
 */
export function controlnetStep(...sizes: Parameters<typeof controlnetError>): Uint8Array {
  const { inputs, outputs } = controlnetComputation(...sizes);
  return build(inputs, outputs);
}

/** What such a step's graph is built of. */
export function controlnetComputation(...sizes: Parameters<typeof controlnetError>): Computation {
  const { inputs, loss, trained } = controlnetError(...sizes);
  return stepOf(inputs, loss, trained);
}

/** The same loss without gradients: how well a ControlNet does. */
export function controlnetLoss(...sizes: Parameters<typeof controlnetError>): Uint8Array {
  const { inputs, loss, trained } = controlnetError(...sizes);
  return build([...inputs, ...trained.inputs.values()], { loss });
}

function controlnetError(
  locked: WeightStore,
  unet: UnetConfig,
  config: ControlnetConfig,
  parameters: Shapes,
  size: ControlSize,
  prediction: PredictionType,
) {
  const trained = new TrainableWeights(parameters);
  const w = new Weights(trained);
  const { inputs, sample, timestep, error } = diffusion(unet.in_channels, size, prediction);
  const { timestep: _, timestep_cond: __, ...told } = conditionInputs(unet, size.batch, size.tokens ?? TOKENS);
  const hintShape = [size.batch, config.conditioning_channels, CELL * size.height, CELL * size.width];
  const hint = input("hint", "float32", hintShape);

  const conditions = { timestep, ...told };
  const residuals = controlResiduals(w, config, sample, conditions, embedHint(w, config, hint));
  const out = denoise(new Weights(locked), unet, sample, conditions, residuals);
  return { inputs: [...inputs, ...Object.values(told), hint], loss: error(out), trained };
}

/**
 * The base itself: U-Net and text encoder together. Besides what `diffusion` names: input_ids [B, 77]. `parameters` are named
 * "unet.…" and "text_encoder.…".
 */
export function baseStep(
  unet: UnetConfig,
  clip: ClipConfig,
  parameters: Shapes,
  size: BatchSize,
  prediction: PredictionType,
): Uint8Array {
  const [unetWeights, clipWeights] = [
    new TrainableWeights(parameters, "unet."),
    new TrainableWeights(parameters, "text_encoder."),
  ];
  const { inputs, sample, timestep, error } = diffusion(unet.in_channels, size, prediction);
  const ids = input("input_ids", "int64", [size.batch, clip.max_position_embeddings]);
  const { hidden, finalNorm } = hiddenStates(new Weights(clipWeights), clip, ids);
  const text = finalNorm(hidden.at(-1)!);
  const nothing = [...skipChannels(unet), unet.block_out_channels.at(-1)!].map((channels) =>
    constant("float32", [1, channels, 1, 1], new Float32Array(channels)),
  );
  const out = denoise(new Weights(unetWeights), unet, sample, { timestep, encoder_hidden_states: text }, nothing);
  return stepGraph([...inputs, ids], error(out), unetWeights, clipWeights);
}

/** Weight of the latents' distance from a unit normal: as small as in Rombach et al. 2022 (arXiv 2112.10752), appendix G. */
const KL_WEIGHT = 1e-6;

/** Differences of neighbouring pixels along an axis. */
const edges = (x: Value, axis: number) => {
  const size = x.shape[axis] as number;
  return sub(slice(x, axis, 1, size), slice(x, axis, 0, size - 1));
};

/**
 * The VAE: image [B, 3, H, W] in -1 … 1, noise [B, C, H/8, W/8] → absolute, squared and edge error of the reconstruction, and the
 * Kullback-Leibler divergence of the latents from a unit normal.
 */
export function vaeStep(config: VaeConfig, parameters: Shapes, { batch, height, width }: BatchSize): Uint8Array {
  const trained = new TrainableWeights(parameters);
  const w = new Weights(trained);
  const image = input("image", "float32", [batch, config.in_channels, CELL * height, CELL * width]);
  const noise = input("noise", "float32", [batch, config.latent_channels, height, width]);
  const moments = vaeEncode(w, config, image);
  const latent = slice(moments, 1, 0, config.latent_channels);
  const logVariance = slice(moments, 1, config.latent_channels, 2 * config.latent_channels);
  const decoded = vaeDecode(w, config, add(latent, mul(exp(scale(logVariance, 0.5)), noise)));

  const difference = sub(decoded, image);
  const reconstruction = [
    mean(abs(difference)),
    mean(square(difference)),
    mean(abs(edges(difference, 2))),
    mean(abs(edges(difference, 3))),
  ].reduce(add);
  const one = constant("float32", [], [1]);
  const divergence = mean(sub(sub(add(square(latent), exp(logVariance)), logVariance), one));
  // The divergence is a sum over latents, the reconstruction error a mean over pixels.
  return stepGraph(
    [image, noise],
    add(reconstruction, scale(divergence, 0.5 * KL_WEIGHT * (config.latent_channels / 3))),
    trained,
  );
}
