import type { Pixels } from "../pixels.ts";
import { words } from "../words.ts";

/** 255 less each channel: black lines on white become white on black. */
export function invert({ width, height, data }: Pixels): Pixels {
  const out = new Uint8Array(data.length);
  const [from, to] = [words(data), words(out)];
  for (let i = 0; i < to.length; i++) to[i] = ~from[i]!;
  for (let i = 4 * to.length; i < out.length; i++) out[i] = 255 - data[i]!;
  return { width, height, data: out };
}
