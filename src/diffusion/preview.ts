import { families } from "../models/families.ts";
import { CELL } from "../models/vae.ts";
import type { Tensor } from "../onnx/tensor.ts";
import type { LoadedModel } from "./model.ts";
import { decodeLatents } from "./pipeline.ts";

/**
 * How each latent channel colours a pixel: rows of [red, green, blue], and what is added, for values in -1 … 1. Fitted by the
 * authors of ComfyUI to the families' released VAEs (comfy/latent_formats.py, SD15 and SDXL).
 */
const COLOURS = [
  {
    scaling_factor: families.sd1.scaling_factor,
    channels: [
      [0.3512, 0.2297, 0.3227],
      [0.325, 0.4974, 0.235],
      [-0.2829, 0.1762, 0.2721],
      [-0.212, -0.2616, -0.7177],
    ],
    bias: [0, 0, 0],
  },
  {
    scaling_factor: families.sdxl.scaling_factor,
    channels: [
      [0.3651, 0.4232, 0.4341],
      [-0.2533, -0.0042, 0.1068],
      [0.1076, 0.1111, -0.0362],
      [-0.3165, -0.2492, -0.2188],
    ],
    bias: [0.1084, -0.0175, -0.0011],
  },
] as const;

/**
 * What the picture is on its way to, [1, 3, H, W], about -1 … 1: by the model's tiny decoder, or a pixel a latent cell. Of a VAE that is
 * neither family's nobody knows the colours: it decodes its previews itself.
 */
export async function preview(model: LoadedModel, latents: Tensor): Promise<Tensor> {
  if (model.run.tiny_decoder !== null) {
    return (await model.run.tiny_decoder({ latents })).image!;
  }
  const [, channels, height, width] = latents.dims as [number, number, number, number];
  const family = COLOURS.find(
    (one) => one.scaling_factor === model.vae.scaling_factor && model.vae.latents_mean === null,
  );
  if (family === undefined) {
    const data = await decodeLatents(model, latents.data as Float32Array, [channels, height, width]);
    return { dims: [1, 3, CELL * height, CELL * width], data };
  }
  const plane = height * width;
  const data = new Float32Array(3 * plane);
  for (let c = 0; c < 3; c++) {
    for (let p = 0; p < plane; p++) {
      const parts = family.channels.map((colours, k) => colours[c]! * (latents.data[k * plane + p] as number));
      data[c * plane + p] = family.bias[c]! + parts.reduce((sum, part) => sum + part, 0);
    }
  }
  return { dims: [1, 3, height, width], data };
}
