/** Skeletons as OpenPose draws them: CMU-Perceptual-Computing-Lab/openpose, the COCO model's limbs and colours. */
import type { Pixels } from "../../src/image/pixels.ts";
import { BODY_COLOURS } from "../../src/image/pose/skeleton.ts";
import type { Rgb } from "./colours.ts";
import { css, rasterise } from "./render.ts";
import type { Scene } from "./scene.ts";
import { KEYPOINTS, type Keypoint } from "./skeleton.ts";

const LIMBS = [
  ["neck", "right_shoulder"],
  ["neck", "left_shoulder"],
  ["right_shoulder", "right_elbow"],
  ["right_elbow", "right_wrist"],
  ["left_shoulder", "left_elbow"],
  ["left_elbow", "left_wrist"],
  ["neck", "right_hip"],
  ["right_hip", "right_knee"],
  ["right_knee", "right_ankle"],
  ["neck", "left_hip"],
  ["left_hip", "left_knee"],
  ["left_knee", "left_ankle"],
  ["neck", "nose"],
  ["nose", "right_eye"],
  ["right_eye", "right_ear"],
  ["nose", "left_eye"],
  ["left_eye", "left_ear"],
] as const satisfies readonly (readonly [Keypoint, Keypoint])[];

/** The colour of limb i and of keypoint i: once around the circle of hues. */
export const POSE_COLOURS: readonly Rgb[] = BODY_COLOURS;

/** Limbs are drawn at 60 % of their colour's light, below the keypoints. */
const LIMB_LIGHT = 0.6;
const [LIMB_WIDTH, KEYPOINT_RADIUS] = [2.4, 1.6];

export function drawPose({ skeletons }: Scene): Promise<Pixels> {
  const drawn = skeletons.map((skeleton) => {
    const limbs = LIMBS.map(([from, to], i) => {
      const [[x1, y1], [x2, y2]] = [skeleton[from], skeleton[to]];
      const half = Math.hypot(x2 - x1, y2 - y1) / 2;
      const turn = (Math.atan2(y2 - y1, x2 - x1) * 180) / Math.PI;
      const colour = css(POSE_COLOURS[i]!.map((value) => Math.round(value * LIMB_LIGHT)) as unknown as Rgb);
      const middle = `translate(${(x1 + x2) / 2} ${(y1 + y2) / 2}) rotate(${turn})`;
      return `<ellipse rx="${half}" ry="${LIMB_WIDTH / 2}" transform="${middle}" fill="${colour}"/>`;
    });
    const points = KEYPOINTS.map((name, i) => {
      const [x, y] = skeleton[name];
      return `<circle cx="${x}" cy="${y}" r="${KEYPOINT_RADIUS}" fill="${css(POSE_COLOURS[i]!)}"/>`;
    });
    return [...limbs, ...points].join("");
  });
  return rasterise(drawn.join(""));
}
