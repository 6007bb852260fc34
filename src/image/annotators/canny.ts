import type { Pixels } from "../pixels.ts";

/** tan 22.5° as OpenCV has it, 15 bits behind the point. */
const TAN_22 = Math.round(Math.tan(Math.PI / 8) * (1 << 15));

/**
 * Edges, white on black: OpenCV's `cv2.Canny(rgb, lowThreshold, highThreshold)` (3×3 Sobel, L1 norm of the gradient) to the byte,
 * three channels alike. controlnet_aux's `CannyDetector` calls it so, with thresholds of 100 and 200. A gradient is at most 2040.
 * An edge is a ridge of the gradient above `lowThreshold` that touches, by itself or through others, one above `highThreshold`.
 * Source: Canny, "A Computational Approach to Edge Detection", 1986; opencv/opencv `modules/imgproc/src/canny.cpp`.
 */
export function canny(pixels: Pixels, lowThreshold: number, highThreshold: number): Pixels {
  const { width, height } = pixels;
  const low = Math.floor(Math.min(lowThreshold, highThreshold));
  const high = Math.floor(Math.max(lowThreshold, highThreshold));
  const { dx, dy, norm, stride } = gradient(pixels);

  // The strong ridges first, then the weak ones that they reach.
  const candidate = new Uint8Array(norm.length);
  const edges: number[] = [];
  const neighbours = [-stride - 1, -stride, -stride + 1, -1, 1, stride - 1, stride, stride + 1];
  for (let y = 0; y < height; y++)
    for (let x = 0, i = (y + 1) * stride + 1; x < width; x++, i++) {
      if (norm[i]! <= low || !isRidge(norm, dx[i]!, dy[i]!, i, stride)) continue;
      if (norm[i]! > high) edges.push(i);
      else candidate[i] = 1;
    }
  const data = new Uint8Array(width * height * 3);
  for (let i = edges.pop(); i !== undefined; i = edges.pop()) {
    const pixel = (Math.floor(i / stride) - 1) * width + (i % stride) - 1;
    data.fill(255, pixel * 3, pixel * 3 + 3);
    for (const step of neighbours)
      if (candidate[i + step] === 1) {
        candidate[i + step] = 0;
        edges.push(i + step);
      }
  }
  return { width, height, data };
}

/** Per pixel the Sobel derivatives of the channel where |dx| + |dy| is largest (the first of equals), in a frame of zeros one pixel wide. */
function gradient({ width, height, data }: Pixels) {
  const stride = width + 2;
  const dx = new Int16Array(stride * (height + 2));
  const dy = new Int16Array(dx.length);
  const norm = new Int16Array(dx.length);
  for (let y = 0; y < height; y++) {
    // Beyond the picture its outermost rows and columns go on. These are offsets into `data`.
    const above = Math.max(y - 1, 0) * width * 3;
    const row = y * width * 3;
    const below = Math.min(y + 1, height - 1) * width * 3;
    for (let x = 0, i = (y + 1) * stride + 1; x < width; x++, i++)
      for (let c = 0; c < 3; c++) {
        const left = Math.max(x - 1, 0) * 3 + c;
        const middle = x * 3 + c;
        const right = Math.min(x + 1, width - 1) * 3 + c;
        const rising = data[below + right]! - data[above + left]!;
        const falling = data[above + right]! - data[below + left]!;
        const gx = rising + falling + 2 * (data[row + right]! - data[row + left]!);
        const gy = rising - falling + 2 * (data[below + middle]! - data[above + middle]!);
        const size = Math.abs(gx) + Math.abs(gy);
        if (c > 0 && size <= norm[i]!) continue;
        dx[i] = gx;
        dy[i] = gy;
        norm[i] = size;
      }
  }
  return { dx, dy, norm, stride };
}

/** Is the gradient at `i` the largest across the edge? Directions count in steps of 45°; of two equals along a row or column the first wins. */
function isRidge(norm: Int16Array, dx: number, dy: number, i: number, stride: number): boolean {
  const size = norm[i]!;
  const x = Math.abs(dx) * TAN_22;
  const y = Math.abs(dy) * (1 << 15);
  if (y < x) return size > norm[i - 1]! && size >= norm[i + 1]!;
  // tan 67.5° = tan 22.5° + 2
  if (y > x + Math.abs(dx) * (1 << 16)) return size > norm[i - stride]! && size >= norm[i + stride]!;
  const s = dx < 0 !== dy < 0 ? -1 : 1;
  return size > norm[i - stride - s]! && size > norm[i + stride + s]!;
}
