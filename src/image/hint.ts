import type { Pixels } from "./pixels.ts";

/** What a ControlNet is shown: [1, 3, H, W] in 0 … 1, value / 255 (diffusers' `VaeImageProcessor` without normalisation). */
export function hint({ width, height, data }: Pixels): Float32Array {
  const plane = width * height;
  const out = new Float32Array(3 * plane); // [1, 3, H, W]
  for (let p = 0, i = 0; p < plane; p++) for (let c = 0; c < 3; c++) out[c * plane + p] = data[i++]! / 255;
  return out;
}

/** What the VAE encoder is shown: [1, 3, H, W] in -1 … 1, 2 · value / 255 - 1 (diffusers' `VaeImageProcessor.normalize`). */
export function sample(pixels: Pixels): Float32Array {
  return hint(pixels).map((value) => 2 * value - 1);
}

/** How light each pixel is: [1, 1, H, W] in 0 … 1, with Pillow's `convert("L")` weights (ITU-R 601-2). */
export function grey({ width, height, data }: Pixels): Float32Array {
  const out = new Float32Array(width * height); // [1, 1, H, W]
  for (let p = 0; p < out.length; p++) {
    const sum = data[p * 3]! * 19595 + data[p * 3 + 1]! * 38470 + data[p * 3 + 2]! * 7471;
    out[p] = ((sum + 0x8000) >> 16) / 255;
  }
  return out;
}

/**
 * What to paint anew: [1, 1, H, W], 1 where the picture made grey is half as light as white or lighter, else 0 (diffusers'
 * mask processor: resized with LANCZOS first, then grey, then binarised at 0.5).
 */
export const mask = (pixels: Pixels) => grey(pixels).map((value) => (value >= 0.5 ? 1 : 0));

/**
 * The VAE decoder's [3, H, W], -1 … 1 and a little beyond, as a picture: x / 2 + 0.5, clamped to 0 … 1, times 255, rounded half to
 * even, each step in float32 (diffusers' `VaeImageProcessor.postprocess`: `denormalize`, then `numpy_to_pil`).
 */
export function toPixels(decoded: Float32Array, width: number, height: number): Pixels {
  const plane = width * height;
  if (decoded.length !== 3 * plane)
    throw new RangeError(`${decoded.length} values are not a picture of 3×${height}×${width}`);
  const data = new Uint8Array(3 * plane);
  for (let c = 0; c < 3; c++)
    for (let p = 0; p < plane; p++) {
      const unit = Math.fround(decoded[c * plane + p]! / 2 + 0.5);
      data[p * 3 + c] = roundHalfEven(Math.fround(Math.min(Math.max(unit, 0), 1) * 255));
    }
  return { width, height, data };
}

function roundHalfEven(x: number): number {
  const down = Math.floor(x);
  const rest = x - down;
  return rest > 0.5 || (rest === 0.5 && down % 2 === 1) ? down + 1 : down;
}
