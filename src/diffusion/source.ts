/** Image-to-image, inpainting and instruct-pix2pix: how a picture starts from an image, what of it is kept, what a U-Net sees of it. */
import { shownBeside } from "../models/unet-inputs.ts";
import type { Tensor } from "../onnx/tensor.ts";
import { toModel } from "./latents.ts";
import type { LoadedModel } from "./model.ts";
import { stack } from "./rows.ts";
import type { DrawNoise, Sampler } from "./samplers.ts";

/** What a request starts from, at the picture's size. */
export interface Source {
  /** [1, 3, H, W] in -1 … 1. */
  readonly image: Tensor;
  /** [1, 1, H, W]: 1 where the picture is painted anew, 0 where the image is kept; null = everywhere anew. */
  readonly mask: Tensor | null;
}

/** How one picture starts from an image. */
export interface Beginning {
  readonly latents: Float32Array;
  /** Blending, for a U-Net without mask channels: after each step the masked-out cells are the image's again. */
  readonly keep: Keep | null;
  /** What the U-Net is shown beside the latents (src/models/unet-inputs.ts), [channels, h, w]: once for all rows, or for each. */
  readonly extra: readonly Float32Array[] | null;
}

export interface Keep {
  /** The image's latents and the picture's first noise, [C, h, w]. */
  readonly clean: Float32Array;
  readonly noise: Float32Array;
  /** [h, w]: 1 = painted anew. */
  readonly mask: Float32Array;
}

/** A sample of the VAE's posterior, as the U-Net wants it (diffusers' DiagonalGaussianDistribution). */
async function encodeImage(model: LoadedModel, image: Tensor, draw: DrawNoise): Promise<Float32Array> {
  const { moments } = await model.run.vae_encoder({ image });
  const data = moments!.data as Float32Array; // [1, 2C, h, w]: means, then logarithms of variances
  const half = data.length / 2;
  const noise = draw(half);
  const sample = Float64Array.from(noise, (value, i) => {
    const deviation = Math.exp(0.5 * Math.min(Math.max(data[half + i]!, -30), 20));
    return data[i]! + deviation * value;
  });
  return toModel(model, sample);
}

/** The mask at the latents' size: the top left pixel of each cell (torch's nearest interpolation). */
function maskOfCells({ dims, data }: Tensor, [, height, width]: readonly [number, number, number]): Float32Array {
  const [pixelsHigh, pixelsWide] = dims.slice(2) as [number, number];
  return Float32Array.from({ length: height * width }, (_, i) => {
    const y = Math.floor((Math.floor(i / width) * pixelsHigh) / height);
    const x = Math.floor(((i % width) * pixelsWide) / width);
    return Number(data[y * pixelsWide + x]);
  });
}

/** The image with everything that is painted anew made grey. */
function hideMasked({ image, mask }: Source): Tensor {
  const plane = mask!.data.length;
  const data = (image.data as Float32Array).map((value, i) => (Number(mask!.data[i % plane]) < 0.5 ? value : 0));
  return { dims: image.dims, data };
}

function join(...parts: Float32Array[]): Float32Array {
  const whole = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  parts.reduce((at, part) => {
    whole.set(part, at);
    return at + part.length;
  }, 0);
  return whole;
}

/**
 * The first latents of a picture made from an image. Draws come in diffusers' order: the VAE's sample, the noise, and with
 * a mask the masked image's sample, also for a U-Net that does not look at it.
 * (StableDiffusionControlNetImg2ImgPipeline and …InpaintPipeline, prepare_latents and prepare_mask_latents.)
 * @param strength 1 starts an inpainting from noise alone
 */
export async function begin(
  source: Source,
  model: LoadedModel,
  sampler: Sampler,
  dims: readonly [number, number, number],
  strength: number,
  draw: DrawNoise,
): Promise<Beginning> {
  const size = dims.reduce((product, dim) => product * dim, 1);
  const pureNoise = source.mask !== null && strength === 1;
  const hasMaskChannels = shownBeside(model) === "masked image";
  const skipsImage = pureNoise && hasMaskChannels; // diffusers then never encodes, and so never draws for it
  const clean = skipsImage ? null : await encodeImage(model, source.image, draw);
  const noise = draw(size);
  const latents = pureNoise ? noise.map((value) => value * sampler.initNoiseSigma) : sampler.addNoise(clean!, noise, 0);
  if (source.mask === null) {
    return { latents, keep: null, extra: null };
  }
  const masked = await encodeImage(model, hideMasked(source), draw);
  const mask = maskOfCells(source.mask, dims);
  return hasMaskChannels
    ? { latents, keep: null, extra: [join(mask, masked)] }
    : { latents, keep: { clean: clean!, noise, mask }, extra: null };
}

/**
 * What an instruct-pix2pix U-Net is shown of the image, for each of `rows`: the mean of the VAE's posterior, and zeros in the first of
 * three, which guidance leads away from (StableDiffusionInstructPix2PixPipeline.prepare_image_latents).
 */
export async function readShownImage({ image }: Source, model: LoadedModel, rows: number): Promise<Float32Array[]> {
  const { moments } = await model.run.vae_encoder({ image });
  const means = (moments!.data as Float32Array).slice(0, moments!.data.length / 2);
  const factor = model.scales_image_latents ? model.vae.scaling_factor : 1;
  const shown = factor === 1 ? means : means.map((value) => value * factor);
  return Array.from({ length: rows }, (_, row) => (rows === 3 && row === 0 ? shown.map(() => 0) : shown));
}

/** The U-Net's sample, [1 or rows, in_channels, h, w]: the latents, and beside them what it is shown. */
export function withExtra(latents: Float32Array, extra: readonly Float32Array[], dims: readonly number[]): Tensor {
  return stack(
    extra.map((one) => join(latents, one)),
    dims,
  );
}

/** The latents after a step, with the kept cells as noisy as the next evaluation expects them; clean after the last one. */
export function blend(
  { clean, noise, mask }: Keep,
  latents: Float32Array,
  sampler: Sampler,
  nextStep: number,
): Float32Array {
  const kept = nextStep < sampler.total ? sampler.addNoise(clean, noise, nextStep) : clean;
  return latents.map((value, i) => {
    const anew = mask[i % mask.length]!;
    return (1 - anew) * kept[i]! + anew * value;
  });
}
