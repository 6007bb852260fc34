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

type Size = Pick<Pixels, "width" | "height">;

/** The size that covers the frame, and where the frame lies in it. */
export function covering(pixels: Size, width: number, height: number) {
  const wide = width / height > pixels.width / pixels.height; // the frame is wider than the picture
  const w = wide ? width : Math.floor((pixels.width * height) / pixels.height);
  const h = wide ? Math.floor((pixels.height * width) / pixels.width) : height;
  return { width: w, height: h, x: half(w) - half(width), y: half(h) - half(height) };
}

function crop(pixels: Pixels, width: number, height: number): Pixels {
  const whole = covering(pixels, width, height);
  return resize(pixels, whole.width, whole.height, { window: { x: whole.x, y: whole.y, width, height } });
}

/** The size that lies inside the frame. */
export function inside(pixels: Size, width: number, height: number): Size {
  const wide = width / height >= pixels.width / pixels.height;
  return {
    width: wide ? Math.max(1, Math.floor((pixels.width * height) / pixels.height)) : width,
    height: wide ? height : Math.max(1, Math.floor((pixels.height * width) / pixels.width)),
  };
}

function fill(pixels: Pixels, width: number, height: number): Pixels {
  const size = inside(pixels, width, height);
  return onBorderColor(resize(pixels, size.width, size.height), pixels, width, height);
}

/** What was made to lie inside the frame, in its middle, with bars of the border's color of what it was made of. */
export function onBorderColor(fitted: Pixels, pixels: Pixels, width: number, height: number): Pixels {
  const { width: w, height: h } = fitted;
  const left = half(width) - half(w);
  const top = half(height) - half(h);
  const data = new Uint8Array(width * height * 3);
  const color = borderColour(pixels);
  for (let i = 0; i < data.length; i += 3) data.set(color, i);
  for (let y = 0; y < h; y++)
    data.set(fitted.data.subarray(y * w * 3, (y + 1) * w * 3), ((top + y) * width + left) * 3);
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
