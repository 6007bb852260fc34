import type { Pixels } from "../image/pixels.ts";
import { roundHalfEven } from "../image/rounding.ts";

/** Where output pixel (x, y) is read: at x·scale + offset along each axis, in pixels of the input. */
export interface Crop {
  readonly width: number;
  readonly height: number;
  readonly scaleX: number;
  readonly scaleY: number;
  readonly offsetX: number;
  readonly offsetY: number;
}

/** How positions are computed, and whether a pixel that is read partly beyond the picture's edge is mixed with black there, or all black. */
interface Manner {
  readonly position: (step: number, scale: number, offset: number) => number;
  readonly mixed: boolean;
  /** Of the upper and the lower two pixels, at a place from 0 to 1 between them; their order of rounding decides halves. */
  readonly mix: (a: number, b: number, c: number, d: number, x: number, y: number) => number;
}
const manners = {
  /** OpenCV 5's `warpAffine(INTER_LINEAR)`: positions in float32. */
  opencv: {
    position: (step, scale, offset) => Math.fround(Math.fround(step * Math.fround(scale)) + Math.fround(offset)),
    mixed: true,
    mix(a, b, c, d, x, y) {
      const upper = Math.fround(a + Math.fround(x * (b - a)));
      const lower = Math.fround(c + Math.fround(x * (d - c)));
      return roundHalfEven(Math.fround(upper + Math.fround(y * Math.fround(lower - upper))));
    },
  },
  /** SciPy's `affine_transform(order=1)`. */
  scipy: {
    position: (step, scale, offset) => step * scale + offset,
    mixed: false,
    mix(a, b, c, d, x, y) {
      const [left, upper] = [1 - x, 1 - y];
      return Math.floor(a * upper * left + b * upper * x + c * y * left + d * y * x + 0.5);
    },
  },
} satisfies Record<string, Manner>;

/** A part of a picture, enlarged or reduced by linear interpolation; black outside. */
export function warp(pixels: Pixels, crop: Crop, as: keyof typeof manners): Pixels {
  const { width, height, scaleX, scaleY, offsetX, offsetY } = crop;
  const { position, mixed, mix }: Manner = manners[as];
  const out = new Uint8Array(3 * width * height);
  const at = (x: number, y: number, c: number) =>
    x < 0 || y < 0 || x >= pixels.width || y >= pixels.height ? 0 : pixels.data[3 * (y * pixels.width + x) + c]!;
  const isBlack = (place: number, size: number) => !mixed && (place < 0 || place > size - 1);
  for (let v = 0, o = 0; v < height; v++) {
    const y = position(v, scaleY, offsetY);
    const top = Math.floor(y);
    for (let u = 0; u < width; u++, o += 3) {
      const x = position(u, scaleX, offsetX);
      if (isBlack(x, pixels.width) || isBlack(y, pixels.height)) continue;
      const left = Math.floor(x);
      const [fx, fy] = [x - left, y - top];
      for (let c = 0; c < 3; c++) {
        const corners = [
          at(left, top, c),
          at(left + 1, top, c),
          at(left, top + 1, c),
          at(left + 1, top + 1, c),
        ] as const;
        out[o + c] = mix(...corners, fx, fy);
      }
    }
  }
  return { width, height, data: out };
}
