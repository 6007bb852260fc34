import { blackAndWhite, darkestChannel, greyLevels } from "../grey-level.ts";
import { otsu } from "../otsu.ts";
import type { Pixels } from "../pixels.ts";
import { isAligned } from "../words.ts";

/** White where red, green and blue are all above `level`, else black (Mikubill/sd-webui-controlnet `threshold`). */
export const threshold = (pixels: Pixels, level: number) => black(pixels, (darkest) => darkest > level);

/** A drawing in dark lines, as white lines on black: white where red, green or blue is below 127 (lllyasviel/ControlNet `gradio_scribble2image`). */
export const scribble = (pixels: Pixels) => black(pixels, (darkest) => darkest < 127);

function black(pixels: Pixels, isWhite: (darkest: number) => boolean): Pixels {
  return blackAndWhite(pixels, darkestLevels(pixels), isWhite);
}

function darkestLevels({ width, height, data }: Pixels): Uint8Array {
  const levels = new Uint8Array(width * height);
  for (let p = 0; p < levels.length; p++) levels[p] = darkestChannel(data, p * 3);
  return levels;
}

/**
 * White where the picture is dark: its grey at most `level`, or with 0 or 255 what Otsu's method finds
 * (Mikubill/sd-webui-controlnet `binary`).
 * @param out what the map is written to; may be the picture's own bytes
 */
export function binaryMap(pixels: Pixels, level: number, out?: Uint8Array): Pixels {
  // The levels lie in the map until it is made of them: no memory is touched for the first time.
  const levels = greyLevels(pixels, out !== undefined && isAligned(out) ? out : undefined);
  const limit = level === 0 || level === 255 ? otsu(levels) : level;
  return blackAndWhite(pixels, levels, (grey) => grey <= limit, out);
}
