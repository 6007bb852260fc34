import { roundHalfEven } from "./rounding.ts";

export type Line = readonly [x0: number, y0: number, x1: number, y1: number];

export interface HoughOptions {
  /** pixels between two distances of lines from the corner */
  readonly rho: number;
  /** degrees between two directions */
  readonly thetaDegrees: number;
  /** votes that a line needs */
  readonly threshold: number;
  /** pixels along x or y */
  readonly minLineLength: number;
  /** pixels without an edge that a line goes on over */
  readonly maxLineGap: number;
}

/** A pixel, while walking along a line. */
const ONE = 65_536;
const f = Math.fround;

/** A map of edges whose pixels vote for lines: [angles, distances]. */
interface Votes {
  readonly cos: Float32Array;
  readonly sin: Float32Array;
  readonly distances: number;
  readonly counts: Int32Array;
}

/**
 * Segments of straight lines in a map of edges, in the order found: OpenCV's `HoughLinesP`, whose draws are always the same.
 * Source: Matas, Galambos and Kittler, "Robust Detection of Lines Using the Progressive Probabilistic Hough Transform", 2000;
 * opencv/opencv `modules/imgproc/src/hough.cpp` (`HoughLinesProbabilistic`).
 * @param edges [height, width], 0 where there is none; emptied
 */
export function houghLines(edges: Uint8Array, width: number, height: number, options: HoughOptions): Line[] {
  const votes = ballot(width, height, options);
  const waiting = Int32Array.from(edges.keys().filter((i) => edges[i] !== 0));
  const below = multiplyWithCarry();
  const lines: Line[] = [];
  for (let count = waiting.length; count > 0; count--) {
    const drawn = below(count);
    const pixel = waiting[drawn]!;
    waiting[drawn] = waiting[count - 1]!;
    if (edges[pixel] === 0) continue; // it belongs to a line that was found
    const [x, y] = [pixel % width, Math.floor(pixel / width)];
    const angle = vote(votes, x, y, options.threshold);
    if (angle === null) continue;
    const walks = bothWays(x, y, votes.cos[angle]!, votes.sin[angle]!);
    const [x0, y0, x1, y1] = walks.flatMap((walk) => lastEdge(edges, width, height, walk, options.maxLineGap)) as [
      ...Line,
    ];
    const isLong = Math.max(Math.abs(x1 - x0), Math.abs(y1 - y0)) >= options.minLineLength;
    take(edges, width, walks[0], [x0, y0], isLong ? votes : null);
    take(edges, width, walks[1], [x1, y1], isLong ? votes : null);
    if (isLong) lines.push([x0, y0, x1, y1]);
  }
  return lines;
}

function ballot(width: number, height: number, { rho, thetaDegrees }: HoughOptions): Votes {
  const step = f((thetaDegrees * Math.PI) / 180);
  let angles = Math.floor(Math.PI / step) + 1;
  if (angles > 1 && Math.abs(Math.PI - (angles - 1) * step) < step / 2) angles--; // half a turn is the first direction again
  const distances = roundHalfEven(((width + height) * 2 + 1) / rho);
  const scale = f(1 / rho);
  return {
    cos: Float32Array.from({ length: angles }, (_, n) => Math.cos(n * step) * scale),
    sin: Float32Array.from({ length: angles }, (_, n) => Math.sin(n * step) * scale),
    distances,
    counts: new Int32Array(angles * distances),
  };
}

/** Adds to or takes from a pixel's votes; where adding, gives the first direction of the most votes if these are enough. */
function vote({ cos, sin, distances, counts }: Votes, x: number, y: number, threshold: number): number | null {
  const middle = (distances - 1) >> 1;
  let [most, best]: [number, number | null] = [threshold - 1, null];
  for (let n = 0, row = middle; n < cos.length; n++, row += distances) {
    const found = ++counts[row + roundFloat(f(f(x * cos[n]!) + f(y * sin[n]!)))]!;
    if (found > most) [most, best] = [found, n];
  }
  return best;
}

function withdraw({ cos, sin, distances, counts }: Votes, x: number, y: number): void {
  const middle = (distances - 1) >> 1;
  for (let n = 0, row = middle; n < cos.length; n++, row += distances)
    counts[row + roundFloat(f(f(x * cos[n]!) + f(y * sin[n]!)))]!--;
}

/** 1.5 · 2⁵²: what is added to it loses its fraction, half to even. */
const WHOLE = 6_755_399_441_055_744;
const roundFloat = (x: number) => x + WHOLE - WHOLE;

/** From a pixel along a line: one axis in whole pixels, the other in 65536ths. */
interface Walk {
  readonly alongX: boolean;
  readonly x: number;
  readonly y: number;
  readonly dx: number;
  readonly dy: number;
}

function bothWays(x: number, y: number, cos: number, sin: number): [Walk, Walk] {
  const [a, b] = [-sin, cos];
  const alongX = Math.abs(a) > Math.abs(b);
  const fixed = (place: number) => place * ONE + ONE / 2;
  const slope = (aside: number, along: number) => roundFloat(f(f(aside * ONE) / Math.abs(along)));
  const there: Walk = alongX
    ? { alongX, x, y: fixed(y), dx: a > 0 ? 1 : -1, dy: slope(b, a) }
    : { alongX, x: fixed(x), y, dx: slope(a, b), dy: b > 0 ? 1 : -1 };
  return [there, { ...there, dx: -there.dx, dy: -there.dy }];
}

/** The last edge before the border or a gap that is too wide. */
function lastEdge(edges: Uint8Array, width: number, height: number, walk: Walk, maxGap: number): [number, number] {
  const { alongX, dx, dy } = walk;
  let [endX, endY] = [0, 0];
  for (let { x, y } = walk, gap = 0; ; x += dx, y += dy) {
    const column = alongX ? x : Math.floor(x / ONE);
    const row = alongX ? Math.floor(y / ONE) : y;
    if (column < 0 || column >= width || row < 0 || row >= height) break;
    if (edges[row * width + column] !== 0) [gap, endX, endY] = [0, column, row];
    else if (++gap > maxGap) break;
  }
  return [endX, endY];
}

/** Takes the edges up to `end` out of the map and, given `votes`, their votes. */
function take(edges: Uint8Array, width: number, walk: Walk, end: readonly [number, number], votes: Votes | null): void {
  const { alongX, dx, dy } = walk;
  for (let { x, y } = walk; ; x += dx, y += dy) {
    const column = alongX ? x : Math.floor(x / ONE);
    const row = alongX ? Math.floor(y / ONE) : y;
    const i = row * width + column;
    if (edges[i] !== 0) {
      if (votes !== null) withdraw(votes, column, row);
      edges[i] = 0;
    }
    if (column === end[0] && row === end[1]) return;
  }
}

/** OpenCV's generator from its first state, all bits set: numbers below `count`. */
function multiplyWithCarry(): (count: number) => number {
  const [HIGH, LOW] = [4_164_903_690 >>> 16, 4_164_903_690 & 0xffff];
  let [word, carry] = [2 ** 32 - 1, 2 ** 32 - 1];
  return (count) => {
    // word · 4164903690 + carry has 64 bits: in two parts of at most 49.
    const [upper, lower] = [word * HIGH, word * LOW + carry];
    const sum = lower + (upper % 65_536) * 65_536;
    word = sum % 2 ** 32;
    carry = Math.floor(upper / 65_536) + Math.floor(sum / 2 ** 32);
    return word % count;
  };
}
