import type { Pixels } from "../image/pixels.ts";
import { feedOf, infer, type Net, NetworkError, plane } from "./network.ts";
import { bilinear, resizePlane } from "./plane.ts";
import { type ProcessorConfig, process } from "./processor.ts";

const [MEAN, STD] = [
  [0.485, 0.456, 0.406],
  [0.229, 0.224, 0.225],
];

/**
 * A map of surface normals as controlnet_aux's NormalBaeDetector makes it: x, y, z of -1 … 1 become red, green, blue of 0 … 255.
 * The network takes [1, 3, H, W], normalised as ImageNet, and gives [1, 3 or more, h, w].
 */
export async function normalMap(pixels: Pixels, net: Net): Promise<Pixels> {
  const { width, height } = pixels;
  const [normal] = await infer(
    net,
    feedOf(pixels, (byte, c) => (Math.fround(byte / 255) - MEAN![c]!) / STD![c]!),
  );
  const planes = [0, 1, 2].map((c) => resizePlane(plane(normal!, c), width, height, bilinear).data);
  return coloured(width, height, planes);
}

/** Three coordinates of -1 … 1 as colours. */
function coloured(width: number, height: number, planes: readonly Float32Array[]): Pixels {
  const data = new Uint8Array(3 * width * height);
  for (const [c, values] of planes.entries())
    for (let p = 0; p < values.length; p++)
      data[3 * p + c] = Math.fround(Math.min(Math.max(Math.fround(values[p]! + 1) / 2, 0), 1) * 255);
  return { width, height, data };
}

export const NORMAL_OUTPUT = "predicted_normal";

/**
 * The normals that Metric3D (arXiv 2404.15506) gives beside depth, in the colours that ControlNets of normals were trained with: red is
 * left, green is up, blue is toward the viewer. Its own axes point right, down and away; what is seen faces the viewer, which tells
 * whether a file's are turned round already.
 */
export async function metricNormalMap(
  pixels: Pixels,
  net: Net & { readonly processor: ProcessorConfig },
): Promise<Pixels> {
  const { width, height } = pixels;
  const outputs = await infer(net, process(pixels, net.processor));
  const normal = outputs[net.outputs.findIndex(({ name }) => name === NORMAL_OUTPUT)];
  if (normal === undefined) throw new NetworkError(`the network has no output "${NORMAL_OUTPUT}"`);
  const planes = [0, 1, 2].map((c) => resizePlane(plane(normal, c), width, height, bilinear).data);
  const toViewer = planes[2]!.reduce((sum, z) => sum + z, 0) > 0 ? 1 : -1;
  const units = planes.map((values) =>
    values.map((value, p) => (toViewer * value) / Math.max(Math.hypot(...planes.map((own) => own[p]!)), 1e-8)),
  );
  return coloured(width, height, units);
}
