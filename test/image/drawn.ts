/** Pictures that fixtures/make/resize.py draws too. */
import type { Pixels } from "../../src/image/pixels.ts";

export type Size = [width: number, height: number];
export type Kind = "noise" | "edges" | "ramp";

function noise(i: number): number {
  let x = Math.imul(i, 0x9e3779b1);
  x = Math.imul(x ^ (x >>> 15), 0x85ebca77);
  return (x ^ (x >>> 13)) & 255;
}

const kinds = {
  noise,
  edges: (i) => (noise(i) >> 7) * 255,
  ramp: (i, pixels) => Math.floor((Math.floor(i / 3) * 255) / pixels),
} satisfies Record<Kind, (i: number, pixels: number) => number>;

export function drawn(kind: Kind, [width, height]: Size): Pixels {
  const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => kinds[kind](i, width * height));
  return { width, height, data };
}
