import type { Pixels } from "../image/pixels.ts";
import type { FoundPoint } from "./key-points.ts";
import { infer, type Net, NetworkError, plane } from "./network.ts";
import type { Box } from "./person-boxes.ts";
import type { Plane } from "./plane.ts";
import { normalised, type ProcessorConfig } from "./processor.ts";
import { type Crop, warp } from "./warp.ts";

/** A ViTPose network (Xu et al., arXiv 2204.12484) and how a picture is made ready for it. */
export interface VitPoseNet extends Net {
  readonly processor: ProcessorConfig;
}

const [POINTS, MARGIN] = [17, 1.25];
/** The bounds that logarithms of a heat map are taken within. */
const [COLDEST, HOTTEST] = [0.001, 50];

/** The part of a picture around a box that a network of this size sees, and how it reads it. */
function aroundBox([x1, y1, x2, y2]: Box, size: { readonly width: number; readonly height: number }) {
  const [x, y, aspect] = [(x1 + x2) / 2, (y1 + y2) / 2, size.width / size.height];
  const [w, h] = [x2 - x1, y2 - y1];
  const [width, height] = (w > h * aspect ? [w, w / aspect] : [h * aspect, h]).map((side) => side * MARGIN) as [
    number,
    number,
  ];
  const [across, down] = [axis(size.width, width, x), axis(size.height, height, y)];
  const crop: Crop = {
    ...{ width: size.width, scaleX: across.scale, offsetX: across.offset },
    ...{ height: size.height, scaleY: down.scale, offsetY: down.offset },
  };
  return { x, y, width, height, crop };
}

/** What a network of this size sees of a picture that one person fills. */
export const wholeView = (pixels: Pixels, size: { readonly width: number; readonly height: number }): Pixels =>
  warp(pixels, aroundBox([0, 0, pixels.width, pixels.height], size).crop, "scipy");

/** COCO's 17 points of whoever is in the box (transformers' VitPoseImageProcessor and `post_process_pose_estimation`). */
export async function bodyPoints(pixels: Pixels, box: Box, net: VitPoseNet): Promise<FoundPoint[]> {
  const { size } = net.processor;
  if (typeof size !== "object" || !("height" in size))
    throw new NetworkError("a pose network needs a height and a width");
  const { x, y, width, height, crop } = aroundBox(box, size);
  const seen = warp(pixels, crop, "scipy");
  const [heat] = await infer(net, normalised(seen, net.processor));
  if (heat!.dims[1] !== POINTS) throw new NetworkError(`${POINTS} heat maps are expected, not [${heat!.dims}]`);
  return Array.from({ length: POINTS }, (_, k) => {
    const map = plane(heat!, k);
    const { u, v, score } = peak(map);
    return {
      x: (u * width) / (map.width - 1) + x - width / 2,
      y: (v * height) / (map.height - 1) + y - height / 2,
      score,
    };
  });
}

/** One axis of the crop's matrix, which is kept in float32 (transformers' `get_warp_matrix`) and then turned round. */
function axis(count: number, size: number, centre: number): { scale: number; offset: number } {
  const factor = (count - 1) / size;
  const shift = Math.fround(factor * (size / 2 - centre));
  return { scale: 1 / Math.fround(factor), offset: -shift / Math.fround(factor) };
}

/** A heat map's greatest cell, moved by Newton's step on its smoothed logarithm (DARK, arXiv 1910.06278; UDP, 1911.07524). */
function peak(map: Plane): { u: number; v: number; score: number } {
  let best = 0;
  for (let p = 1; p < map.data.length; p++) if (map.data[p]! > map.data[best]!) best = p;
  const score = map.data[best]!;
  const [u, v] = score > 0 ? [best % map.width, Math.floor(best / map.width)] : [-1, -1];
  const smooth = blurred(map);
  const inside = (at: number, size: number) => Math.min(Math.max(at, 0), size - 1);
  const log = (du: number, dv: number) => {
    const value = smooth[inside(v + dv, map.height) * map.width + inside(u + du, map.width)]!;
    return Math.log(Math.min(Math.max(value, COLDEST), HOTTEST));
  };
  const middle = log(0, 0);
  const [du, dv] = [(log(1, 0) - log(-1, 0)) / 2, (log(0, 1) - log(0, -1)) / 2];
  const duu = log(1, 0) - 2 * middle + log(-1, 0) + EPSILON;
  const dvv = log(0, 1) - 2 * middle + log(0, -1) + EPSILON;
  const duv = (log(1, 1) - log(1, 0) - log(0, 1) + 2 * middle - log(-1, 0) - log(0, -1) + log(-1, -1)) / 2;
  const determinant = duu * dvv - duv * duv;
  return { u: u - (dvv * du - duv * dv) / determinant, v: v - (duu * dv - duv * du) / determinant, score };
}

const EPSILON = 2 ** -23; // float32's, which keeps a flat map's matrix from being singular
const [SIGMA, RADIUS] = [0.8, 5];

/** SciPy's `gaussian_filter(sigma=0.8, radius=5)`: beyond the edges the map is mirrored. */
function blurred({ width, height, data }: Plane): Float64Array {
  const weights = Array.from({ length: 2 * RADIUS + 1 }, (_, i) => Math.exp(-((i - RADIUS) ** 2) / (2 * SIGMA ** 2)));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const mirror = (at: number, size: number) => {
    const place = ((at % (2 * size)) + 2 * size) % (2 * size);
    return place < size ? place : 2 * size - 1 - place;
  };
  const pass = (from: ArrayLike<number>, count: number, stride: number, lines: number, step: number) => {
    const out = new Float64Array(from.length);
    for (let line = 0; line < lines; line++)
      for (let i = 0; i < count; i++) {
        let sum = 0;
        for (let t = -RADIUS; t <= RADIUS; t++)
          sum += (weights[t + RADIUS]! / total) * from[line * step + mirror(i + t, count) * stride]!;
        out[line * step + i * stride] = sum;
      }
    return out;
  };
  return pass(pass(data, height, width, width, 1), width, 1, height, width);
}
