/** OpenPose's skeletons: which points are joined, and the colours that ControlNets for poses know them by. */
import type { Colour } from "../drawing/put.ts";

/** Limb i has colour i. */
export const LIMBS: readonly (readonly [number, number])[] = [
  [1, 2],
  [1, 5],
  [2, 3],
  [3, 4],
  [5, 6],
  [6, 7],
  [1, 8],
  [8, 9],
  [9, 10],
  [1, 11],
  [11, 12],
  [12, 13],
  [1, 0],
  [0, 14],
  [14, 16],
  [0, 15],
  [15, 17],
];

/** Of the body's 18 points. */
export const BODY_COLOURS: readonly Colour[] = [
  [255, 0, 0],
  [255, 85, 0],
  [255, 170, 0],
  [255, 255, 0],
  [170, 255, 0],
  [85, 255, 0],
  [0, 255, 0],
  [0, 255, 85],
  [0, 255, 170],
  [0, 255, 255],
  [0, 170, 255],
  [0, 85, 255],
  [0, 0, 255],
  [85, 0, 255],
  [170, 0, 255],
  [255, 0, 255],
  [255, 0, 170],
  [255, 0, 85],
];

/** From the wrist along each of the five fingers. */
export const HAND_EDGES = [0, 1, 2, 3, 4].flatMap((finger) => {
  const first = 4 * finger + 1;
  return [
    [0, first],
    [first, first + 1],
    [first + 1, first + 2],
    [first + 2, first + 3],
  ] as const;
});

/** Edge i of 20 has the hue i / 20 at full saturation: matplotlib's `hsv_to_rgb`, as `cv2.line` rounds it. */
export const HAND_COLOURS: readonly Colour[] = [
  [255, 0, 0],
  [255, 77, 0],
  [255, 153, 0],
  [255, 229, 0],
  [204, 255, 0],
  [128, 255, 0],
  [51, 255, 0],
  [0, 255, 25],
  [0, 255, 102],
  [0, 255, 179],
  [0, 255, 255],
  [0, 178, 255],
  [0, 102, 255],
  [0, 25, 255],
  [51, 0, 255],
  [128, 0, 255],
  [204, 0, 255],
  [255, 0, 230],
  [255, 0, 153],
  [255, 0, 77],
];

export const HAND_POINT: Colour = [0, 0, 255];
export const FACE_POINT: Colour = [255, 255, 255];
