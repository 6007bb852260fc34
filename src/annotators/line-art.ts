import { resizeCubic, resizeLinear } from "../image/opencv-resize.ts";
import type { Pixels } from "../image/pixels.ts";
import { feedOf, greyMap, infer, type Net, plane } from "./network.ts";
import { bicubicPlane, resizePlane } from "./plane.ts";

/**
 * White lines on black, realistic or coarse by the network (Chan et al., arXiv 2203.12691), as controlnet_aux's LineartDetector makes
 * them. The network takes [1, 3, H, W] of 0 … 1 and gives [1, 1, h, w] of 0 … 1, black lines on white, h and w rounded up to fours.
 */
export async function lineArtMap(pixels: Pixels, net: Net): Promise<Pixels> {
  const [line] = await infer(
    net,
    feedOf(pixels, (byte) => byte / 255),
  );
  const { width, height, data } = plane(line!);
  const map = resizeLinear(
    greyMap(width, height, (p) => Math.fround(data[p]! * 255)),
    pixels.width,
    pixels.height,
  );
  return { ...map, data: map.data.map((value) => 255 - value) };
}

/** The network halves the sides eight times. */
const MULTIPLE = 256;

/** White lines of a drawing on black, as controlnet_aux's LineartAnimeDetector makes them: the network takes and gives -1 … 1. */
export async function animeLineArtMap(pixels: Pixels, net: Net): Promise<Pixels> {
  const { width, height } = pixels;
  const [w, h] = [width, height].map((side) => Math.ceil(side / MULTIPLE) * MULTIPLE) as [number, number];
  const [line] = await infer(
    net,
    feedOf(resizeCubic(pixels, w, h), (byte) => Math.fround(byte / 127.5) - 1),
  );
  const lines = plane(line!);
  const bytes = { ...lines, data: lines.data.map((value) => Math.fround(value * 127.5) + 127.5) };
  const { data } = resizePlane(bytes, width, height, bicubicPlane);
  return greyMap(width, height, (p) => 255 - Math.trunc(Math.min(Math.max(data[p]!, 0), 255)));
}
