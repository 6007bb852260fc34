import type { Pixels } from "../pixels.ts";
import { reflect } from "../reflect.ts";

/** One channel of numbers, rows from the top. */
export interface Depth {
  readonly width: number;
  readonly height: number;
  readonly data: ArrayLike<number>;
}

const f = Math.fround;

/**
 * Surface normals from depth, near = large: its slopes by Sobel's operator against a height of `a`; red = towards the viewer,
 * green = down, blue = right (controlnet_aux `MidasDetector`, whose channels ControlNets for normals know reversed).
 * @param backgroundThreshold share of the whole depth below which a pixel is background, which faces the viewer
 */
export function normalFromDepth(depth: Depth, backgroundThreshold: number, a: number): Pixels {
  const { width, height, data } = depth;
  const [least, range] = extent(data);
  const z = f(a);
  const out = new Uint8Array(width * height * 3);
  const byte = (value: number) => Math.min(Math.max(f(f(value * 127.5) + 127.5), 0), 255);
  for (let row = 0, p = 0; row < height; row++) {
    const [above, middle, below] = [row - 1, row, row + 1].map((y) => reflect(y, height) * width) as [
      number,
      number,
      number,
    ];
    for (let column = 0; column < width; column++, p++) {
      const [left, right] = [reflect(column - 1, width), reflect(column + 1, width)];
      let [x, y] = [0, 0];
      if (!(f(f(data[p]! - least) / range) < backgroundThreshold)) {
        const rising = data[below + right]! - data[above + left]!;
        const falling = data[above + right]! - data[below + left]!;
        x = f(rising + falling + 2 * (data[middle + right]! - data[middle + left]!));
        y = f(rising - falling + 2 * (data[below + column]! - data[above + column]!));
      }
      const length = f(Math.sqrt(f(f(f(x * x) + f(y * y)) + f(z * z))));
      out[p * 3] = byte(f(z / length));
      out[p * 3 + 1] = byte(f(y / length));
      out[p * 3 + 2] = byte(f(x / length));
    }
  }
  return { width, height, data: out };
}

/** The least value, and how far the largest is from it. */
function extent(values: ArrayLike<number>): [least: number, range: number] {
  let [least, most] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (let i = 0; i < values.length; i++) {
    least = Math.min(least, values[i]!);
    most = Math.max(most, values[i]!);
  }
  return [least, f(most - least)];
}
