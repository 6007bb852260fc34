import { blurFloat } from "../gaussian-blur.ts";
import { greyPicture } from "../grey-level.ts";
import type { Pixels } from "../pixels.ts";

const [FINE, COARSE] = [0.5, 5];

/**
 * White lines where the picture is darker than around: a difference of two Gaussians above half of `threshold`
 * (Winnemöller, "XDoG", 2011; Mikubill/sd-webui-controlnet `scribble_xdog`). Twice the difference is counted in 8 bits there and
 * begins anew at 256, so that the strongest lines are dropped: kept, as ControlNets know such maps.
 */
export function scribbleXdog(pixels: Pixels, threshold: number): Pixels {
  const { width, height } = pixels;
  const fine = new Float32Array(pixels.data.length);
  blurFloat(pixels, 3, FINE, (y, row) => fine.set(row, y * width * 3));
  const levels = new Uint8Array(width * height);
  blurFloat(pixels, 3, COARSE, (y, row) => {
    for (let x = 0, i = 0, p = y * width; x < width; x++, i += 3, p++) {
      const a = Math.fround(row[i]! - fine[p * 3]!);
      const b = Math.fround(row[i + 1]! - fine[p * 3 + 1]!);
      const c = Math.fround(row[i + 2]! - fine[p * 3 + 2]!);
      const light = Math.trunc(Math.min(Math.max(Math.fround(255 - Math.min(a, b, c)), 0), 255));
      levels[p] = ((2 * (255 - light)) & 255) > threshold ? 255 : 0;
    }
  });
  return greyPicture(width, height, levels);
}
