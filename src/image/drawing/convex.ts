import type { Pixels } from "../pixels.ts";
import { drawLine } from "./line.ts";
import { type Colour, putRow } from "./put.ts";

export type Point = readonly [x: number, y: number];

/** Sixteen bits behind the point. */
const ONE = 65_536;

/**
 * A filled convex polygon of whole points, its outline included: `cv2.fillConvexPoly(canvas, points, colour)` to the byte.
 * Source: opencv/opencv `modules/imgproc/src/drawing.cpp` (`FillConvexPoly`).
 */
export function fillConvex(canvas: Pixels, points: readonly Point[], colour: Colour): void {
  for (const [i, [x, y]] of points.entries()) {
    const [px, py] = points.at(i - 1)!;
    drawLine(canvas, px, py, x, y, colour);
  }
  fillInside(
    canvas,
    points.map(([x, y]) => [x * ONE, y]),
    colour,
  );
}

/** One side of the polygon that is walked down: where it is in this row, and how far it goes aside to the next. */
interface Side {
  corner: number;
  readonly step: number;
  x: number;
  dx: number;
  endRow: number;
}

/**
 * The rows of a convex polygon, from the highest corner down along both sides at once. Wholly above, below or beside the canvas,
 * or a mere line, it has none.
 * @param corners x in 65536ths of a pixel, y in rows
 */
export function fillInside(canvas: Pixels, corners: readonly Point[], colour: Colour): void {
  const rows = corners.map(([, y]) => y);
  const columns = corners.map(([x]) => Math.floor((x + ONE / 2) / ONE));
  const [top, bottom] = [Math.min(...rows), Math.max(...rows)];
  if (corners.length < 3 || bottom < 0 || top >= canvas.height) return;
  if (Math.max(...columns) < 0 || Math.min(...columns) >= canvas.width) return;

  const first = rows.indexOf(top);
  const count = corners.length;
  const side = (step: number): Side => ({ corner: first, step, x: -ONE, dx: 0, endRow: top });
  const sides = [side(1), side(count - 1)] as const;
  let edges = count;
  for (let y = top; y <= Math.min(bottom, canvas.height - 1); y++) {
    for (const walked of sides) {
      if (y < walked.endRow) continue;
      let from = walked.corner;
      let to = (from + walked.step) % count;
      while (edges-- > 0) {
        if (rows[to]! > y) {
          const height = rows[to]! - y;
          walked.endRow = rows[to]!;
          walked.x = corners[from]![0];
          walked.dx = Math.trunc(((corners[to]![0] - walked.x) * 2 + height) / (2 * height));
          walked.corner = to;
          break;
        }
        from = to;
        to = (from + walked.step) % count;
      }
    }
    if (edges < 0) return;
    if (y < 0) {
      // Down to the canvas or to the next corner at once.
      const rowsDown = Math.min(sides[0].endRow, sides[1].endRow, 0) - y;
      for (const walked of sides) walked.x += walked.dx * rowsDown;
      y += rowsDown - 1;
      continue;
    }
    const [a, b] = [sides[0].x, sides[1].x].map((x) => Math.floor((x + ONE / 2) / ONE));
    putRow(canvas, y, Math.min(a!, b!), Math.max(a!, b!), colour);
    for (const walked of sides) walked.x += walked.dx;
  }
}
