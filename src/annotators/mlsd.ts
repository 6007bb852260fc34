import type { Pixels } from "../image/pixels.ts";
import type { Tensor } from "../onnx/tensor.ts";
import { infer, type Net, NetworkError, plane } from "./network.ts";

/** From x, y to x, y in pixels of the picture; it may end outside. */
export type Segment = readonly [x1: number, y1: number, x2: number, y2: number];

export interface MlsdParameters {
  /** The least score of a line, 0.01 … 2. */
  readonly thr_v: number;
  /** The least length of a line in cells of two pixels, 0.01 … 20. */
  readonly thr_d: number;
}

/** As many lines as are looked at, the best ones first. */
const MOST_LINES = 200;

/** The picture and a plane of ones, all 2·value/255 - 1: [1, 4, H, W]. */
function withOnes({ width, height, data }: Pixels): Tensor {
  const size = width * height;
  const out = new Float32Array(4 * size).fill(1 / 127.5 - 1, 3 * size);
  for (let p = 0, i = 0; p < size; p++) for (let c = 0; c < 3; c++) out[c * size + p] = data[i++]! / 127.5 - 1;
  return { dims: [1, 4, height, width], data: out };
}

/**
 * Straight lines of a picture whose sides are multiples of 32 (controlnet_aux `pred_lines`; Gu et al., arXiv 2106.00186). The network
 * gives [1, 9, H/2, W/2]: the score of a line's centre, and from there to its ends x, y, x, y.
 */
export async function segmentsOf(pixels: Pixels, net: Net, { thr_v, thr_d }: MlsdParameters): Promise<Segment[]> {
  const [map] = await infer(net, withOnes(pixels));
  if (map!.dims.length !== 4 || map!.dims[1]! < 5) {
    throw new NetworkError(`a map of lines has the shape [1, 9, H/2, W/2], not [${map!.dims}]`);
  }
  const [centre, ...ends] = [0, 1, 2, 3, 4].map((c) => plane(map!, c));
  const { width, data: scores } = centre!;
  const lines: Segment[] = [];
  for (const p of peaks(centre!)) {
    const [x1, y1, x2, y2] = ends.map(({ data }) => data[p]!) as [number, number, number, number];
    if (1 / (1 + Math.exp(-scores[p]!)) <= thr_v || Math.hypot(x1 - x2, y1 - y2) <= thr_d) continue;
    const [x, y] = [p % width, Math.floor(p / width)];
    lines.push([2 * (x + x1), 2 * (y + y1), 2 * (x + x2), 2 * (y + y2)]);
  }
  return lines;
}

/** The cells that no neighbour exceeds, the best ones first. */
function peaks({ width, height, data }: ReturnType<typeof plane>): number[] {
  const found: number[] = [];
  for (let y = 0, p = 0; y < height; y++) {
    for (let x = 0; x < width; x++, p++) {
      let isPeak = true;
      for (let v = Math.max(y - 1, 0); v <= Math.min(y + 1, height - 1); v++)
        for (let u = Math.max(x - 1, 0); u <= Math.min(x + 1, width - 1); u++)
          isPeak &&= data[v * width + u]! <= data[p]!;
      if (isPeak) found.push(p);
    }
  }
  return found.sort((a, b) => data[b]! - data[a]!).slice(0, MOST_LINES);
}
