type Ends = [x0: number, y0: number, x1: number, y1: number];

/**
 * The part of a line that lies in columns 0 … width - 1 and rows 0 … height - 1, or null: OpenCV's `clipLine`, whole numbers
 * truncated as there (Cohen and Sutherland's codes: 1 left of the canvas, 2 right, 4 above, 8 below).
 */
export function clipLine(width: number, height: number, ...ends: Ends): Ends | null {
  const [right, bottom] = [width - 1, height - 1];
  const code = (x: number, y: number) => (x < 0 ? 1 : 0) + (x > right ? 2 : 0) + (y < 0 ? 4 : 0) + (y > bottom ? 8 : 0);
  let [x0, y0, x1, y1] = ends;
  let [c0, c1] = [code(x0, y0), code(x1, y1)];
  const crosses = () => (c0 & c1) === 0 && (c0 | c1) !== 0;
  if (crosses()) {
    if (c0 & 12) {
      const edge = c0 < 8 ? 0 : bottom;
      [x0, y0] = [x0 + share(edge - y0, x1 - x0, y1 - y0), edge];
      c0 = code(x0, 0) & 3;
    }
    if (c1 & 12) {
      const edge = c1 < 8 ? 0 : bottom;
      [x1, y1] = [x1 + share(edge - y1, x1 - x0, y1 - y0), edge];
      c1 = code(x1, 0) & 3;
    }
  }
  if (crosses()) {
    if (c0) {
      const edge = c0 === 1 ? 0 : right;
      [x0, y0] = [edge, y0 + share(edge - x0, y1 - y0, x1 - x0)];
      c0 = 0;
    }
    if (c1) {
      const edge = c1 === 1 ? 0 : right;
      [x1, y1] = [edge, y1 + share(edge - x1, y1 - y0, x1 - x0)];
      c1 = 0;
    }
  }
  return (c0 | c1) === 0 ? [x0, y0, x1, y1] : null;
}

/** a · b / c, truncated; the product may have more than 53 bits. */
function share(a: number, b: number, c: number): number {
  return Number((BigInt(a) * BigInt(b)) / BigInt(c));
}
