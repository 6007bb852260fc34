/** The sizes that annotators work at, as those had them that made the maps which ControlNets were trained with. */
import { imageSize, resizeArea, resizeCubic, resizeImage, resizeLinear } from "./opencv-resize.ts";
import type { Pixels } from "./pixels.ts";
import { roundHalfEven } from "./rounding.ts";

/** controlnet_aux's names; null = the picture's own size. */
export interface Resolutions {
  /** About the shorter side of the picture that the map is made of. */
  readonly detect_resolution: number | null;
  /** About the shorter side of the map. */
  readonly image_resolution: number | null;
  /** The A1111 extension's, instead of the two: the shorter side of the map, which is made of a picture padded to multiples of 64. */
  readonly resolution: number | null;
}

/** Of those parameters of an annotator that has them, else none. */
export const resolutionsOf = (params: object): Resolutions => ({
  detect_resolution: null,
  image_resolution: null,
  resolution: null,
  ...params,
});

/** The picture at the size that its map is made at. */
export function atDetection(pixels: Pixels, { detect_resolution, resolution }: Resolutions): Pixels {
  if (resolution !== null) return resizeWithPad(pixels, resolution).padded;
  return detect_resolution === null ? pixels : resizeImage(pixels, detect_resolution);
}

/** A map that was made of {@link atDetection} at the size that was asked for; one made at the picture's own size stays as it is. */
export function asAsked(
  map: Pixels,
  pixels: Pixels,
  { detect_resolution, image_resolution, resolution }: Resolutions,
  resize: (pixels: Pixels, width: number, height: number) => Pixels = resizeLinear,
): Pixels {
  if (resolution !== null) {
    const { width, height } = sizeAt(pixels, resolution);
    return corner(map, width, height);
  }
  if (detect_resolution === null && image_resolution === null) return map;
  const { width, height } = image_resolution === null ? pixels : imageSize(pixels, image_resolution);
  return map.width === width && map.height === height ? map : resize(map, width, height);
}

const MULTIPLE = 64;

/** The size at which a picture's shorter side is `resolution`. */
export function sizeAt({ width, height }: Pick<Pixels, "width" | "height">, resolution: number) {
  const scale = resolution / Math.min(width, height);
  return { width: roundHalfEven(width * scale), height: roundHalfEven(height * scale) };
}

/**
 * A picture whose shorter side is `resolution`, its last column and row repeated until both sides are multiples of 64; `width` and
 * `height` are those of the part without them (Mikubill/sd-webui-controlnet `resize_image_with_pad`).
 */
export function resizeWithPad(pixels: Pixels, resolution: number): { padded: Pixels; width: number; height: number } {
  const { width, height } = sizeAt(pixels, resolution);
  const { data } = (resolution > Math.min(pixels.width, pixels.height) ? resizeCubic : resizeArea)(
    pixels,
    width,
    height,
  );
  const [fullWidth, fullHeight] = [width, height].map((side) => Math.ceil(side / MULTIPLE) * MULTIPLE) as [
    number,
    number,
  ];
  const out = new Uint8Array(fullWidth * fullHeight * 3);
  for (let y = 0; y < fullHeight; y++) {
    const row = data.subarray(Math.min(y, height - 1) * width * 3).subarray(0, width * 3);
    out.set(row, y * fullWidth * 3);
    for (let x = width; x < fullWidth; x++) out.set(row.subarray(-3), (y * fullWidth + x) * 3);
  }
  return { padded: { width: fullWidth, height: fullHeight, data: out }, width, height };
}

/** The upper left part of a picture. */
export function corner(pixels: Pixels, width: number, height: number): Pixels {
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++)
    data.set(pixels.data.subarray(y * pixels.width * 3).subarray(0, width * 3), y * width * 3);
  return { width, height, data };
}
