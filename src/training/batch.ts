/** Rows of a dataset as the tensors of a step: see loss.ts for the graph's inputs. */
import { type Scaled, toModel } from "../diffusion/latents.ts";
import type { NoiseGenerator } from "../diffusion/noise.ts";
import { stack } from "../diffusion/rows.ts";
import type { Tensor } from "../onnx/tensor.ts";
import type { BatchDraw } from "./draws.ts";

/** diffusers' DiagonalGaussianDistribution keeps the logarithm of the variance within these. */
const [LOWEST, HIGHEST] = [-30, 20];

/** A sample of the VAE's latents from their moments, mean then logarithm of the variance, as the U-Net takes them. */
export function sampleLatents(moments: Float32Array, model: Scaled, noise: NoiseGenerator): Float32Array {
  const size = moments.length / 2;
  const sample = Float64Array.from(noise.normal(size), (value, i) => {
    const logVariance = Math.min(Math.max(moments[size + i]!, LOWEST), HIGHEST);
    return moments[i]! + Math.exp(logVariance / 2) * value;
  });
  return toModel(model, sample);
}

/**
 * The inputs that every denoising step has.
 * @param dims [C, h, w] of latents
 * @param momentsOf the VAE's moments [2C, h, w] of a row's picture
 * @param alphas ᾱ_t of each timestep
 */
export function denoisingFeeds(
  { rows, noise }: BatchDraw,
  dims: readonly number[],
  momentsOf: (row: BatchDraw["rows"][number]) => Float32Array,
  model: Scaled,
  alphas: readonly number[],
): Record<string, Tensor> {
  const timesteps = rows.map(({ choices }) => Math.floor(choices[0] * alphas.length));
  const latents = rows.map((row) => sampleLatents(momentsOf(row), model, noise));
  const perRow = (value: (timestep: number) => number): Tensor => ({
    dims: [rows.length, 1, 1, 1],
    data: Float32Array.from(timesteps, value),
  });
  return {
    latents: stack(latents, dims),
    noise: stack(
      latents.map(({ length }) => noise.normal(length)),
      dims,
    ),
    timestep: { dims: [rows.length], data: Float32Array.from(timesteps) },
    alpha: perRow((t) => Math.sqrt(alphas[t]!)),
    sigma: perRow((t) => Math.sqrt(1 - alphas[t]!)),
  };
}
