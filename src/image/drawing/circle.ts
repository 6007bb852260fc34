import type { Pixels } from "../pixels.ts";
import { type Colour, putRow } from "./put.ts";

/**
 * A filled circle around a whole point: `cv2.circle(canvas, centre, radius, colour, -1)` to the byte.
 * Source: opencv/opencv `modules/imgproc/src/drawing.cpp` (`Circle`), which goes an eighth of a turn and fills the rows of all eight.
 */
export function fillCircle(canvas: Pixels, cx: number, cy: number, radius: number, colour: Colour): void {
  let [error, plus, minus] = [0, 1, 2 * radius - 1];
  for (let [dx, dy] = [radius, 0]; dx >= dy; dy++) {
    for (const y of [cy - dy, cy + dy]) putRow(canvas, y, cx - dx, cx + dx, colour);
    for (const y of [cy - dx, cy + dx]) putRow(canvas, y, cx - dy, cx + dy, colour);
    error += plus;
    plus += 2;
    if (error > 0) {
      error -= minus;
      dx -= 1;
      minus -= 2;
    }
  }
}
