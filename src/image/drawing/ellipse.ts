import { roundHalfEven } from "../rounding.ts";
import type { Point } from "./convex.ts";

/** Of whole degrees from 0 to 450, with the seven decimals that OpenCV's table has. */
const SIN = Float64Array.from({ length: 451 }, (_, degrees) =>
  Math.fround(Number(Math.sin((degrees * Math.PI) / 180).toFixed(7))),
);

/**
 * An ellipse as a polygon with a corner every degree, repeats left out: `cv2.ellipse2Poly(centre, axes, angle, 0, 360, 1)`.
 * @param angle of the first axis, whole degrees
 */
export function ellipsePolygon([cx, cy]: Point, halfLength: number, halfWidth: number, angle: number): Point[] {
  const turned = ((angle % 360) + 360) % 360;
  const [cos, sin] = [SIN[450 - turned]!, SIN[turned]!];
  const points: Point[] = [];
  for (let i = 0; i <= 360; i++) {
    const [x, y] = [halfLength * SIN[450 - i]!, halfWidth * SIN[i]!];
    const point: Point = [roundHalfEven(cx + x * cos - y * sin), roundHalfEven(cy + x * sin + y * cos)];
    const last = points.at(-1);
    if (last === undefined || last[0] !== point[0] || last[1] !== point[1]) points.push(point);
  }
  const centre: Point = [cx, cy];
  return points.length === 1 ? [centre, centre] : points;
}
