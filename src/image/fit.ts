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
  return resize(pixels, w, h, { x: half(w) - half(width), y: half(h) - half(height), width, height });
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
  const border: number[] = [];
  for (let x = 0; x < width; x++) border.push(x, (height - 1) * width + x);
  for (let y = 0; y < height; y++) border.push(y * width, y * width + width - 1);
  return [0, 1, 2].map((channel) => {
    const values = Uint8Array.from(border, (pixel) => data[pixel * 3 + channel]!).sort();
    const middle = values.length / 2; // the length is always even
    return Math.floor((values[middle - 1]! + values[middle]!) / 2);
  });
}
