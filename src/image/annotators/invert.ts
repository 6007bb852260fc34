import type { Pixels } from "../pixels.ts";

/** 255 less each channel: black lines on white become white on black. */
export function invert({ width, height, data }: Pixels): Pixels {
  return { width, height, data: data.map((value) => 255 - value) };
}
