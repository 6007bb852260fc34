import type { LoadedModel } from "../../src/diffusion/model.ts";
import { preview } from "../../src/diffusion/preview.ts";
import { encodeImage } from "../../src/image/encode.ts";
import { toPixels } from "../../src/image/hint.ts";
import type { Pixels } from "../../src/image/pixels.ts";
import { resize } from "../../src/image/resize.ts";
import type { Tensor } from "../../src/onnx/tensor.ts";

/** Previews are kept in Redis as long as their generation: at most this many pixels a side, some 30 kB. */
const PREVIEW_SIDE = 256;

/** What latents [1, C, h, w] look like, roughly and small. */
export async function previewJpeg(model: LoadedModel, denoised: Tensor): Promise<Uint8Array> {
  const { dims, data } = await preview(model, denoised);
  return encodeImage(small(toPixels(data as Float32Array, dims[3]!, dims[2]!)), "jpeg");
}

function small(pixels: Pixels): Pixels {
  const scale = PREVIEW_SIDE / Math.max(pixels.width, pixels.height);
  if (scale >= 1) return pixels;
  const [width, height] = [pixels.width, pixels.height].map((side) => Math.max(1, Math.round(side * scale)));
  return resize(pixels, width!, height!);
}
