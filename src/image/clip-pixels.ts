import type { Pixels } from "./pixels.ts";
import { resize } from "./resize.ts";

/** Of the pictures that CLIP was trained with (openai/CLIP, clip.py). */
const MEAN = [0.48145466, 0.4578275, 0.40821073];
const DEVIATION = [0.26862954, 0.26130258, 0.27577711];

/**
 * What CLIP's vision tower is shown: [3, side, side]. The shorter side becomes `side` by Pillow's BICUBIC, the middle is kept,
 * values / 255 are normalised (transformers' CLIPImageProcessor).
 */
export function clipPixels(pixels: Pixels, side: number): Float32Array {
  const { width: w, height: h } = pixels;
  const [width, height] = w < h ? [side, Math.trunc((side * h) / w)] : [Math.trunc((side * w) / h), side];
  const [x, y] = [Math.floor((width - side) / 2), Math.floor((height - side) / 2)];
  const { data } = resize(pixels, width, height, { filter: "bicubic", window: { x, y, width: side, height: side } });
  const plane = side * side;
  const out = new Float32Array(3 * plane);
  for (let p = 0; p < plane; p++) {
    for (let c = 0; c < 3; c++) out[c * plane + p] = (data[p * 3 + c]! / 255 - MEAN[c]!) / DEVIATION[c]!;
  }
  return out;
}

/** Each side×side pixels as channels (torch's PixelUnshuffle): [C, H, W] → [C·side², H/side, W/side]. */
export function unshuffle(
  data: Float32Array,
  [channels, height, width]: readonly [number, number, number],
  side: number,
) {
  const [rows, columns] = [height / side, width / side];
  const out = new Float32Array(data.length);
  let i = 0;
  for (let c = 0; c < channels; c++)
    for (let dy = 0; dy < side; dy++)
      for (let dx = 0; dx < side; dx++)
        for (let y = 0; y < rows; y++)
          for (let x = 0; x < columns; x++) out[i++] = data[(c * height + y * side + dy) * width + x * side + dx]!;
  return { dims: [1, channels * side * side, rows, columns], data: out };
}
