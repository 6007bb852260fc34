import { blackAndWhite } from "../grey-level.ts";
import type { Pixels } from "../pixels.ts";

/** tan 22.5° as OpenCV has it, 15 bits behind the point. */
const TAN_22 = Math.round(Math.tan(Math.PI / 8) * (1 << 15));
/** What a pixel is: no ridge, one that is an edge if it touches an edge, an edge. */
const [WEAK, EDGE] = [1, 2];

/**
 * Edges, white on black: OpenCV's `cv2.Canny(rgb, lowThreshold, highThreshold)` (3×3 Sobel, L1 norm of the gradient) to the byte,
 * three channels alike. controlnet_aux's `CannyDetector` calls it so, with thresholds of 100 and 200. A gradient is at most 2040.
 * An edge is a ridge of the gradient above `lowThreshold` that touches, by itself or through others, one above `highThreshold`.
 * Source: Canny, "A Computational Approach to Edge Detection", 1986; opencv/opencv `modules/imgproc/src/canny.cpp`.
 * @param out what the map is written to; may be the picture's own bytes
 */
export function canny(pixels: Pixels, lowThreshold: number, highThreshold: number, out?: Uint8Array): Pixels {
  const { width, height, data } = pixels;
  const low = Math.floor(Math.min(lowThreshold, highThreshold));
  const high = Math.floor(Math.max(lowThreshold, highThreshold));
  const stride = width + 2; // a frame of one pixel, which is never a ridge
  const kinds = new Uint8Array(stride * (height + 2));
  const edges: number[] = [];
  // Gradients of three rows at a time: the middle one's ridges are found when the one below is there.
  const norms = new Int32Array(3 * stride);
  const slopes = new Int32Array(2 * width);
  for (let y = 0; y <= height; y++) {
    const norm = (y % 3) * stride;
    if (y < height) gradientRow(data, width, height, y, norms.subarray(norm), slopes.subarray((y % 2) * width));
    else norms.fill(0, norm, norm + stride);
    if (y === 0) continue;
    const steps = neighbours(((y + 1) % 3) * stride, ((y + 2) % 3) * stride, norm);
    ridges(norms, slopes.subarray(((y + 1) % 2) * width), steps, low, high, kinds, y * stride + 1, width, edges);
  }
  follow(kinds, stride, edges);
  for (let y = 0; y < height; y++) {
    const start = (y + 1) * stride + 1;
    kinds.copyWithin(y * width, start, start + width);
  }
  return blackAndWhite(pixels, kinds.subarray(0, width * height), (kind) => kind === EDGE, out);
}

/** A column's sum and difference of three rows in one number, 16 bits apart: above + 2 · middle + below, and below - above. */
const column = (above: number, middle: number, below: number) =>
  (above * 65_535 + middle * 131_072 + below * 65_537) | 0;

/**
 * A row's gradients: of the channel where |dx| + |dy| is largest, the first of equals. The Sobel derivatives dx and dy go to `slopes`, 16 bits
 * each, the norm to `norms`, which begins one pixel before. Beyond the picture its outermost rows and columns go on.
 */
function gradientRow(
  data: Uint8Array,
  width: number,
  height: number,
  y: number,
  norms: Int32Array,
  slopes: Int32Array,
): void {
  const row = y * width * 3;
  let above = y > 0 ? row - width * 3 : row;
  let middle = row;
  let below = y < height - 1 ? row + width * 3 : row;
  let red = column(data[above]!, data[middle]!, data[below]!);
  let green = column(data[above + 1]!, data[middle + 1]!, data[below + 1]!);
  let blue = column(data[above + 2]!, data[middle + 2]!, data[below + 2]!);
  let [redBefore, greenBefore, blueBefore] = [red, green, blue];
  for (let x = 0; x < width; x++) {
    const step = x < width - 1 ? 3 : 0;
    above = (above + step) | 0;
    middle = (middle + step) | 0;
    below = (below + step) | 0;
    const redAfter = column(data[above]!, data[middle]!, data[below]!);
    const greenAfter = column(data[above + 1]!, data[middle + 1]!, data[below + 1]!);
    const blueAfter = column(data[above + 2]!, data[middle + 2]!, data[below + 2]!);
    let slope = slopeOf(redBefore, red, redAfter);
    let norm = normOf(slope);
    // Without branches, which the processor would guess wrong: `more` has all bits set where the next channel's norm is larger.
    const second = slopeOf(greenBefore, green, greenAfter);
    let more = (norm - normOf(second)) >> 31;
    slope ^= (slope ^ second) & more;
    norm = normOf(slope);
    const third = slopeOf(blueBefore, blue, blueAfter);
    more = (norm - normOf(third)) >> 31;
    slope ^= (slope ^ third) & more;
    slopes[x] = slope;
    norms[x + 1] = normOf(slope);
    redBefore = red;
    greenBefore = green;
    blueBefore = blue;
    red = redAfter;
    green = greenAfter;
    blue = blueAfter;
  }
}

/** The Sobel derivatives of three columns, dx in the upper 16 bits, dy in the lower. */
const slopeOf = (before: number, here: number, after: number) =>
  ((after - before + 0x8000) & 0xffff_0000) | ((before + 2 * here + after) & 0xffff);

const acrossOf = (slope: number) => Math.abs(slope >> 16);
const downOf = (slope: number) => Math.abs((slope << 16) >> 16);
const normOf = (slope: number) => (acrossOf(slope) + downOf(slope)) | 0;

/**
 * Where the two norms lie that a pixel's is held against, by the direction of its gradient: along x, along y, along and against both. A pixel's
 * own place is x + 1, the rows begin at `above`, `here` and `below`.
 */
const neighbours = (above: number, here: number, below: number) =>
  Int32Array.of(here, above + 1, above, above + 2, here + 2, below + 1, below + 2, below);

/**
 * Writes a row's kinds from `place` on, and adds its edges. A ridge's gradient is the largest across the edge; directions count in steps of
 * 45°; of two equals along a row or column the first wins.
 */
function ridges(
  norms: Int32Array,
  slopes: Int32Array,
  steps: Int32Array,
  low: number,
  high: number,
  kinds: Uint8Array,
  place: number,
  width: number,
  edges: number[],
): void {
  const here = (steps[0]! + 1) | 0;
  for (let x = 0; x < width; x++) {
    const norm = norms[here + x]!;
    if (norm <= low) continue;
    const slope = slopes[x]!;
    const across = acrossOf(slope);
    const gentle = across * TAN_22;
    const down = downOf(slope) << 15;
    // Without branches again. tan 67.5° = tan 22.5° + 2
    const alongX = (down - gentle) >> 31;
    const alongY = (gentle + (across << 16) - down) >> 31;
    const diagonal = 2 + (((slope >> 16) ^ (slope << 16)) >>> 31);
    const direction = (diagonal & ~(alongX | alongY)) | (alongY & 1);
    const before = norms[x + steps[direction]!]! - norm;
    const after = norms[x + steps[direction + 4]!]! + (direction >> 1) - 1 - norm;
    if ((before & after) >= 0) continue;
    if (norm > high) {
      kinds[place + x] = EDGE;
      edges.push(place + x);
    } else kinds[place + x] = WEAK;
  }
}

/** Makes edges of the weak ones that edges reach. */
function follow(kinds: Uint8Array, stride: number, edges: number[]): void {
  const around = Int32Array.of(-stride - 1, -stride, -stride + 1, -1, 1, stride - 1, stride, stride + 1);
  for (let i = edges.pop(); i !== undefined; i = edges.pop())
    for (let n = 0; n < 8; n++) {
      const next = i + around[n]!;
      if (kinds[next] !== WEAK) continue;
      kinds[next] = EDGE;
      edges.push(next);
    }
}
