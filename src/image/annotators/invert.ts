import type { Pixels } from "../pixels.ts";

/** 255 less each channel: black lines on white become white on black. */
export function invert({ width, height, data }: Pixels): Pixels {
  const out = data.slice();
  const words = new Uint32Array(out.buffer, 0, out.length >> 2); // four bytes at once
  for (let i = 0; i < words.length; i++) words[i] = ~words[i]!;
  for (let i = 4 * words.length; i < out.length; i++) out[i] = 255 - out[i]!;
  return { width, height, data: out };
}
