import { greyPicture } from "../grey-level.ts";
import type { Pixels } from "../pixels.ts";
import { roundHalfEven } from "../rounding.ts";

/** sRGB's curve for each byte, 0 … 255 with 3 bits behind the point. */
const LINEAR = Int32Array.from({ length: 256 }, (_, byte) => {
  const x = byte / 255;
  return roundHalfEven(2040 * (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4));
});
/** CIE's curve for each of those numbers, with 15 bits behind the point. */
const LIGHTNESS = Int32Array.from({ length: 2041 }, (_, level) => {
  const x = level / 2040;
  return roundHalfEven(32_768 * (x < 0.008856 ? x * 7.787 + 16 / 116 : Math.cbrt(x)));
});

/**
 * CIE L*, 0 … 255, as OpenCV computes it on bytes (`COLOR_BGR2LAB`). Red and blue change places, as they do where ControlNets
 * for colouring got their maps: Mikubill/sd-webui-controlnet `recolor_luminance`.
 */
export function recolorLuminance(pixels: Pixels, gammaCorrection: number): Pixels {
  return greyPicture(pixels.width, pixels.height, lightness(pixels, gammaCurve(gammaCorrection)));
}

// Functions of their own, as the loops of grey-level.ts are.

function lightness({ width, height, data }: Pixels, curve: Uint8Array): Uint8Array {
  const levels = new Uint8Array(width * height);
  for (let p = 0, i = 0; p < levels.length; p++, i += 3) {
    const y = (LINEAR[data[i]!]! * 296 + LINEAR[data[i + 1]!]! * 2929 + LINEAR[data[i + 2]!]! * 871 + 2048) >> 12;
    levels[p] = curve[(LIGHTNESS[y]! * 296 - 1_336_934 + 16_384) >> 15]!;
  }
  return levels;
}

/** The largest of red, green and blue (Mikubill/sd-webui-controlnet `recolor_intensity`). */
export function recolorIntensity(pixels: Pixels, gammaCorrection: number): Pixels {
  return greyPicture(pixels.width, pixels.height, brightestChannel(pixels, gammaCurve(gammaCorrection)));
}

function brightestChannel({ width, height, data }: Pixels, curve: Uint8Array): Uint8Array {
  const levels = new Uint8Array(width * height);
  for (let p = 0, i = 0; p < levels.length; p++, i += 3)
    levels[p] = curve[Math.max(data[i]!, data[i + 1]!, data[i + 2]!)]!;
  return levels;
}

/** Each level to the power of gamma, in float32, truncated. */
const gammaCurve = (gamma: number) =>
  Uint8Array.from({ length: 256 }, (_, byte) =>
    Math.min(Math.fround(Math.fround(Math.fround(byte / 255) ** gamma) * 255), 255),
  );
