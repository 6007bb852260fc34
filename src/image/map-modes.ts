import { covering, inside, onBorderColor, type ResizeMode } from "./fit.ts";
import { fitMap } from "./map-fit.ts";
import type { Pixels } from "./pixels.ts";

/** How a map of other proportions becomes `width` × `height`: as {@link resizeModes}, but as {@link fitMap} scales. */
export const mapModes = { stretch: fitMap, crop, fill } satisfies Record<ResizeMode, typeof fitMap>;

function crop(map: Pixels, width: number, height: number): Pixels {
  const { x, y, ...whole } = covering(map, width, height);
  const { data } = fitMap(map, whole.width, whole.height);
  const cut = new Uint8Array(width * height * 3);
  for (let row = 0; row < height; row++) {
    const from = ((y + row) * whole.width + x) * 3;
    cut.set(data.subarray(from, from + width * 3), row * width * 3);
  }
  return { width, height, data: cut };
}

function fill(map: Pixels, width: number, height: number): Pixels {
  const size = inside(map, width, height);
  return onBorderColor(fitMap(map, size.width, size.height), map, width, height);
}
