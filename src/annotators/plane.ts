/** One channel of float32 values, rows from the top: what networks give, before it becomes a picture. */
export interface Plane {
  readonly width: number;
  readonly height: number;
  readonly data: Float32Array;
}

/** Along one axis: output i is the sum of inputs `first[i]` … times `weights[taps·i]` …, indices clamped to the axis. */
interface Taps {
  readonly taps: number;
  readonly index: Int32Array;
  readonly weight: Float32Array;
}

type Kernel = (inSize: number, outSize: number) => Taps;

/** torch's `interpolate(mode="bilinear", align_corners=False)` and OpenCV's INTER_LINEAR on float32. */
export const bilinear: Kernel = (inSize, outSize) => {
  const index = new Int32Array(2 * outSize);
  const weight = new Float32Array(2 * outSize);
  for (let i = 0; i < outSize; i++) {
    const at = Math.max((i + 0.5) * (inSize / outSize) - 0.5, 0);
    const first = Math.min(Math.floor(at), inSize - 1);
    index.set([first, Math.min(first + 1, inSize - 1)], 2 * i);
    weight.set([1 - (at - first), at - first], 2 * i);
  }
  return { taps: 2, index, weight };
};

/** torch's `interpolate(mode="bicubic", align_corners=False)` and OpenCV's INTER_CUBIC on float32: Keys' kernel with a = -0.75. */
export const bicubicPlane: Kernel = (inSize, outSize) => {
  const index = new Int32Array(4 * outSize);
  const weight = new Float32Array(4 * outSize);
  for (let i = 0; i < outSize; i++) {
    const at = (i + 0.5) * (inSize / outSize) - 0.5;
    const first = Math.floor(at);
    for (let t = 0; t < 4; t++) {
      index[4 * i + t] = Math.min(Math.max(first + t - 1, 0), inSize - 1);
      weight[4 * i + t] = keys(Math.abs(at - (first + t - 1)));
    }
  }
  return { taps: 4, index, weight };
};

const A = -0.75;
const keys = (x: number) => (x <= 1 ? ((A + 2) * x - (A + 3)) * x * x + 1 : ((x - 5) * x + 8) * x * A - 4 * A);

/** Resizes without antialiasing, as networks' results are. The result may be the plane itself. */
export function resizePlane(plane: Plane, width: number, height: number, kernel: Kernel): Plane {
  if (plane.width === width && plane.height === height) return plane;
  const out = new Float32Array(width * height);
  const rows = rowsOf(plane, width, height, kernel);
  for (let y = 0; y < height; y++) rows(y, out.subarray(y * width, (y + 1) * width));
  return { width, height, data: out };
}

/** Makes one row of the resized plane at a time: for whoever cannot hold them all. */
export function rowsOf(plane: Plane, width: number, height: number, kernel: Kernel) {
  const across = kernel(plane.width, width);
  const down = kernel(plane.height, height);
  const mixed = new Float32Array(plane.width);
  return (y: number, out: Float32Array): void => {
    mixed.fill(0);
    for (let t = 0; t < down.taps; t++) {
      const weight = down.weight[down.taps * y + t]!;
      const row = down.index[down.taps * y + t]! * plane.width;
      if (weight !== 0) for (let x = 0; x < plane.width; x++) mixed[x] = mixed[x]! + weight * plane.data[row + x]!;
    }
    const { taps, index, weight } = across;
    for (let x = 0, k = 0; x < width; x++) {
      let sum = 0;
      for (let t = 0; t < taps; t++, k++) sum += weight[k]! * mixed[index[k]!]!;
      out[x] = sum;
    }
  };
}

/** The least and the greatest value. */
export function range({ data }: Plane): [least: number, greatest: number] {
  let [least, greatest] = [Infinity, -Infinity];
  for (const value of data) {
    if (value < least) least = value;
    if (value > greatest) greatest = value;
  }
  return [least, greatest];
}
