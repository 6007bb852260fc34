import { covering, inside, onBorderColor, type ResizeMode } from "./fit.ts";
import { fitMap } from "./map-fit.ts";
import type { Pixels } from "./pixels.ts";

/** How a map of other proportions becomes `width` × `height`: as {@link resizeModes}, but as {@link fitMap} scales. */
export const mapModes = { stretch: fitMap, crop, fill } satisfies Record<ResizeMode, typeof fitMap>;

/** What is this many times as long as the frame is cut first: a strip, scaled as a whole, would take all memory. */
const MOST_FRAMES = 2;

function crop(strip: Pixels, width: number, height: number): Pixels {
  const map = middle(strip, width, height);
  const { x, y, ...whole } = covering(map, width, height);
  const { data } = fitMap(map, whole.width, whole.height);
  const cut = new Uint8Array(width * height * 3);
  for (let row = 0; row < height; row++) {
    const from = ((y + row) * whole.width + x) * 3;
    cut.set(data.subarray(from, from + width * 3), row * width * 3);
  }
  return { width, height, data: cut };
}

/** The part of a map around its middle that is no more than {@link MOST_FRAMES} frames long. */
function middle(map: Pixels, width: number, height: number): Pixels {
  const longest = (length: number, most: number) =>
    length > most ? length - 2 * Math.ceil((length - most) / 2) : length;
  const [w, h] = [
    Math.max(longest(map.width, Math.ceil((MOST_FRAMES * map.height * width) / height)), 1),
    Math.max(longest(map.height, Math.ceil((MOST_FRAMES * map.width * height) / width)), 1),
  ];
  if (w === map.width && h === map.height) return map;
  const [left, top] = [Math.floor((map.width - w) / 2), Math.floor((map.height - h) / 2)];
  const data = new Uint8Array(w * h * 3);
  for (let row = 0; row < h; row++) {
    const from = ((top + row) * map.width + left) * 3;
    data.set(map.data.subarray(from, from + w * 3), row * w * 3);
  }
  return { width: w, height: h, data };
}

function fill(map: Pixels, width: number, height: number): Pixels {
  const size = inside(map, width, height);
  return onBorderColor(fitMap(map, size.width, size.height), map, width, height);
}
