import { scaleOf } from "./covered.ts";
import type { Pixels } from "./pixels.ts";

/** `cv2.resize(picture, (width, height), interpolation=INTER_NEAREST)`: no colour that was not there. */
export function resizeNearest(pixels: Pixels, width: number, height: number): Pixels {
  const source = (place: number, from: number, to: number) => Math.min(Math.floor(place * scaleOf(from, to)), from - 1);
  const columns = Int32Array.from({ length: width }, (_, x) => source(x, pixels.width, width) * 3);
  const data = new Uint8Array(width * height * 3);
  for (let y = 0, o = 0, before = -1; y < height; y++) {
    const row = source(y, pixels.height, height) * pixels.width * 3;
    if (row === before) {
      data.copyWithin(o, o - width * 3, o);
      o += width * 3;
      continue;
    }
    before = row;
    for (let x = 0; x < width; x++) {
      const i = row + columns[x]!;
      data[o++] = pixels.data[i]!;
      data[o++] = pixels.data[i + 1]!;
      data[o++] = pixels.data[i + 2]!;
    }
  }
  return { width, height, data };
}
