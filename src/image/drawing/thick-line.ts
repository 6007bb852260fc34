import type { Pixels } from "../pixels.ts";
import { roundHalfEven } from "../rounding.ts";
import { fillCircle } from "./circle.ts";
import { clipLine } from "./clip-line.ts";
import { fillInside, type Point } from "./convex.ts";
import { type Colour, put } from "./put.ts";

const THICKNESS = 2;
/** Sixteen bits behind the point. */
const ONE = 65_536;
const whole = (x: number) => Math.floor((x + ONE / 2) / ONE);

/**
 * A line two pixels thick with round ends between two whole points: `cv2.line(canvas, a, b, colour, 2)` of OpenCV 5 to the byte.
 * Where a line leaves the canvas, OpenCV 4 draws otherwise: 5 cuts it first, its thickness beyond the canvas.
 * Source: opencv/opencv `modules/imgproc/src/drawing.cpp` (`ThickLine`, `Line2`).
 */
export function drawThickLine(canvas: Pixels, ...[ax, ay, bx, by, colour]: [...Ends, Colour]): void {
  const [width, height] = [canvas.width + 2 * THICKNESS, canvas.height + 2 * THICKNESS];
  const clipped = clipLine(width, height, ax + THICKNESS, ay + THICKNESS, bx + THICKNESS, by + THICKNESS);
  if (clipped === null) return;
  const [x0, y0, x1, y1] = clipped.map((place) => place - THICKNESS) as Ends;
  const [dx, dy] = [x0 - x1, y1 - y0];
  const length = Math.sqrt(dx * dx + dy * dy);
  if (length > 0) {
    const [ox, oy] = [roundHalfEven(dy * (ONE / length)), roundHalfEven(dx * (ONE / length))];
    const corners: Point[] = [
      [x0 * ONE + ox, y0 * ONE + oy],
      [x0 * ONE - ox, y0 * ONE - oy],
      [x1 * ONE - ox, y1 * ONE - oy],
      [x1 * ONE + ox, y1 * ONE + oy],
    ];
    for (const [i, corner] of corners.entries()) drawFineLine(canvas, corners.at(i - 1)!, corner, colour);
    fillInside(
      canvas,
      corners.map(([x, y]) => [x, whole(y)]),
      colour,
    );
  }
  fillCircle(canvas, x0, y0, 1, colour);
  fillCircle(canvas, x1, y1, 1, colour);
}

type Ends = [x0: number, y0: number, x1: number, y1: number];

/** A line one pixel thick between two points in 65536ths of a pixel. */
function drawFineLine(canvas: Pixels, a: Point, b: Point, colour: Colour): void {
  const clipped = clipLine(canvas.width * ONE, canvas.height * ONE, ...a, ...b);
  if (clipped === null) return;
  let [ax, ay, bx, by] = clipped;
  const wide = Math.abs(bx - ax) > Math.abs(by - ay);
  if (wide ? bx < ax : by < ay) [ax, ay, bx, by] = [bx, by, ax, ay];
  const [dx, dy] = [bx - ax, by - ay];
  const step = wide ? Math.trunc((dy * ONE) / (dx | 1)) : Math.trunc((dx * ONE) / (dy | 1));
  const dot = (x: number, y: number) => {
    if (x >= 0 && x < canvas.width && y >= 0 && y < canvas.height) put(canvas, x, y, colour);
  };
  dot(whole(bx), whole(by));
  const count = Math.floor((wide ? dx : dy) / ONE);
  for (let i = 0; i <= count; i++) {
    if (wide) dot(whole(ax) + i, whole(ay + i * step));
    else dot(whole(ax + i * step), whole(ay) + i);
  }
}
