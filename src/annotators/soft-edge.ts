import type { Pixels } from "../image/pixels.ts";
import { feedOf, greyMap, infer, type Net, NetworkError, plane } from "./network.ts";
import { bilinear, type Plane, resizePlane } from "./plane.ts";

const BGR = [2, 1, 0];

/** Edges in `steps` + 1 even steps instead of fine ones, so that no picture hides in them (controlnet_aux `safe_step`); 0 = as they are. */
export function safeStep(edge: number, steps: number): number {
  return steps === 0 ? edge : Math.trunc(Math.fround(Math.fround(edge) * (steps + 1))) / steps;
}

const SAFE_STEPS = 2;

function toMap({ width, height, data }: Plane, steps: number): Pixels {
  return greyMap(width, height, (p) => safeStep(data[p]!, steps) * 255);
}

/**
 * Edges that several side outputs agree on: each resized to the picture's size, then the sigmoid of their mean. A network of one
 * output has done so itself. The network takes [1, 3, H, W] of 0 … 255.
 */
async function sideOutputs(pixels: Pixels, net: Net): Promise<Plane> {
  const { width, height } = pixels;
  const outputs = await infer(
    net,
    feedOf(pixels, (byte) => byte),
  );
  const maps = outputs.map((output) => resizePlane(plane(output), width, height, bilinear).data);
  if (maps.length === 1) return { width, height, data: maps[0]! };
  const data = new Float32Array(width * height).map((_, p) => {
    const mean = maps.reduce((sum, map) => sum + map[p]!, 0) / maps.length;
    return 1 / (1 + Math.exp(-mean));
  });
  return { width, height, data };
}

/** Holistically-nested edges (Xie and Tu, arXiv 1504.06375) as controlnet_aux's HEDdetector makes them. */
export async function hedMap(pixels: Pixels, net: Net, { safe }: { safe: boolean }): Promise<Pixels> {
  return toMap(await sideOutputs(pixels, net), safe ? SAFE_STEPS : 0);
}

/** Edges by TEED (arXiv 2308.06468) as controlnet_aux's TEEDdetector makes them; the sides are multiples of 8. */
export async function teedMap(pixels: Pixels, net: Net, { safe_steps }: { safe_steps: number }): Promise<Pixels> {
  return toMap(await sideOutputs(pixels, net), safe_steps);
}

/** Edges by PiDiNet (arXiv 2108.07009) as controlnet_aux's PidiNetDetector makes them: its last output; it takes [1, 3, H, W] as BGR. */
export async function pidinetMap(
  pixels: Pixels,
  net: Net,
  { safe, apply_filter }: { safe: boolean; apply_filter: boolean },
): Promise<Pixels> {
  const outputs = await infer(
    net,
    feedOf(pixels, (byte) => byte / 255, BGR),
  );
  const edges = ownSize(plane(outputs.at(-1)!), pixels);
  const filtered = apply_filter ? { ...edges, data: edges.data.map((edge) => (edge > 0.5 ? 1 : 0)) } : edges;
  return toMap(filtered, safe ? SAFE_STEPS : 0);
}

/** @throws NetworkError when a map has not the size of its picture */
function ownSize(map: Plane, { width, height }: Pixels): Plane {
  if (map.width === width && map.height === height) return map;
  throw new NetworkError(`a picture of ${width}×${height} became a map of ${map.width}×${map.height}`);
}
