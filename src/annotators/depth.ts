import type { Pixels } from "../image/pixels.ts";
import { greyMap, infer, type Net, plane } from "./network.ts";
import { bicubicPlane, bilinear, type Plane, range, resizePlane } from "./plane.ts";
import { type ProcessorConfig, process } from "./processor.ts";

/** How the network's result becomes as large as the picture: transformers' way, or that of Mikubill/sd-webui-controlnet. */
export type DepthResample = "bicubic" | "bilinear";
const kernels = { bicubic: bicubicPlane, bilinear } satisfies Record<DepthResample, unknown>;

/** A depth network and how a picture is made ready for it. */
export interface DepthNet extends Net {
  readonly processor: ProcessorConfig;
  /** Whether it gives distances, large where it is far, and not their inverses. */
  readonly isDistance: boolean;
}

/** Inverse depth of a picture at its own size, large where it is near, in the network's own unit. */
export async function inverseDepth(pixels: Pixels, net: DepthNet, resample: DepthResample = "bicubic"): Promise<Plane> {
  const input = process(pixels, net.processor);
  const views = net.inputs[0]!.shape.length === 5; // Depth Anything 3 sees a scene from several sides
  const outputs = await infer(net, views ? { ...input, dims: [1, ...input.dims] } : input);
  const named = net.outputs.findIndex(({ name }) => name === "predicted_depth");
  const depth = plane(outputs[Math.max(named, 0)]!);
  const near = net.isDistance ? { ...depth, data: depth.data.map((distance) => 1 / Math.max(distance, 1e-6)) } : depth;
  return resizePlane(near, pixels.width, pixels.height, kernels[resample]);
}

/** A depth map: white is nearest, black is farthest (transformers' DepthEstimationPipeline). A flat scene is black. */
export function depthMap(depth: Plane): Pixels {
  const [least, greatest] = range(depth);
  const span = Math.fround(greatest - least) || 1;
  const unit = (value: number) => Math.fround(Math.fround(value - least) / span);
  return greyMap(depth.width, depth.height, (p) => Math.fround(unit(depth.data[p]!) * 255));
}
