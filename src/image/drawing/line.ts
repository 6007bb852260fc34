import type { Pixels } from "../pixels.ts";
import { clipLine } from "./clip-line.ts";
import { type Colour, put } from "./put.ts";

/**
 * A line one pixel thick between two whole points, which may lie beyond the canvas: `cv2.line(canvas, a, b, colour, 1)` to the byte.
 * Source: Bresenham's algorithm as in opencv/opencv `modules/imgproc/src/drawing.cpp` (`LineIterator`, from left to right).
 */
export function drawLine(canvas: Pixels, x0: number, y0: number, x1: number, y1: number, colour: Colour): void {
  const clipped = clipLine(canvas.width, canvas.height, x0, y0, x1, y1);
  if (clipped === null) return;
  const [ax, ay, bx, by] = clipped[0] <= clipped[2] ? clipped : [clipped[2], clipped[3], clipped[0], clipped[1]];
  const [dx, dy] = [bx - ax, Math.abs(by - ay)];
  const down = by < ay ? -1 : 1;
  const steep = dy > dx;
  const [long, short] = steep ? [dy, dx] : [dx, dy];
  let [x, y, error] = [ax, ay, long - 2 * short];
  for (let i = 0; i <= long; i++) {
    put(canvas, x, y, colour);
    const aside = error < 0;
    error += (aside ? 2 * long : 0) - 2 * short;
    if (steep || aside) y += down;
    if (!steep || aside) x += 1;
  }
}
