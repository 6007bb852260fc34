import type { Pixels } from "./pixels.ts";
import { resize } from "./resize.ts";

/**
 * How a picture of other proportions becomes `width` × `height`; always scaled by Pillow's LANCZOS on 8-bit RGB.
 * - `stretch`: proportions are given up, as diffusers does with control images.
 * - `crop`: scaled to cover, the middle kept: diffusers' `VaeImageProcessor._resize_and_crop`, to the byte.
 * - `fill`: scaled to lie inside, centred as diffusers' `_resize_and_fill` does; the bars have the median colour of the
 *   picture's border, as "Resize and Fill" of Mikubill/sd-webui-controlnet (`detectmap_proc`) has it: black around an
 *   edge map. (diffusers smears the outermost pixels across the bars, which a ControlNet takes for lines.)
 */
export const resizeModes = {
  stretch: resize,
  crop,
  fill,
} satisfies Record<string, (pixels: Pixels, width: number, height: number) => Pixels>;

export type ResizeMode = keyof typeof resizeModes;

function crop(pixels: Pixels, width: number, height: number): Pixels {
  const wide = width / height > pixels.width / pixels.height; // the frame is wider than the picture
  const w = wide ? width : Math.floor((pixels.width * height) / pixels.height);
  const h = wide ? Math.floor((pixels.height * width) / pixels.width) : height;
  return resize(pixels, w, h, { window: { x: half(w) - half(width), y: half(h) - half(height), width, height } });
}

function fill(pixels: Pixels, width: number, height: number): Pixels {
  const wide = width / height >= pixels.width / pixels.height;
  const w = wide ? Math.max(1, Math.floor((pixels.width * height) / pixels.height)) : width;
  const h = wide ? height : Math.max(1, Math.floor((pixels.height * width) / pixels.width));
  const inside = resize(pixels, w, h);
  const left = half(width) - half(w);
  const top = half(height) - half(h);

  const data = new Uint8Array(width * height * 3);
  const colour = borderColour(pixels);
  for (let i = 0; i < data.length; i += 3) data.set(colour, i);
  for (let y = 0; y < h; y++)
    data.set(inside.data.subarray(y * w * 3, (y + 1) * w * 3), ((top + y) * width + left) * 3);
  return { width, height, data };
}

function half(length: number): number {
  return Math.floor(length / 2);
}

/** Median of each channel over the first and last row and column (corners count twice); between two middles, their mean rounded down. */
function borderColour({ width, height, data }: Pixels): number[] {
  const counts = [0, 1, 2].map(() => new Uint32Array(256)); // the border itself may be millions of pixels long
  const count = (pixel: number) => {
    for (const [channel, of] of counts.entries()) of[data[pixel * 3 + channel]!]!++;
  };
  for (let x = 0; x < width; x++) for (const y of [0, height - 1]) count(y * width + x);
  for (let y = 0; y < height; y++) for (const x of [0, width - 1]) count(y * width + x);
  const middle = width + height; // half of all
  return counts.map((of) => Math.floor((nth(of, middle - 1) + nth(of, middle)) / 2));
}

/** The value at place `n` of the sorted values that were counted. */
function nth(counts: Uint32Array, n: number): number {
  let value = 0;
  for (let left = n; left >= counts[value]!; value++) left -= counts[value]!;
  return value;
}
