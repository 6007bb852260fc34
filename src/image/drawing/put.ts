import type { Pixels } from "../pixels.ts";

export type Colour = readonly [red: number, green: number, blue: number];

/** Colours one pixel of the canvas. */
export function put({ width, data }: Pixels, x: number, y: number, [red, green, blue]: Colour): void {
  const i = (y * width + x) * 3;
  data[i] = red;
  data[i + 1] = green;
  data[i + 2] = blue;
}

/** Colours the pixels from `left` to `right`, both included, of row `y`: as many as the canvas has. */
export function putRow(canvas: Pixels, y: number, left: number, right: number, colour: Colour): void {
  if (y < 0 || y >= canvas.height) return;
  const end = Math.min(right, canvas.width - 1);
  for (let x = Math.max(left, 0); x <= end; x++) put(canvas, x, y, colour);
}
