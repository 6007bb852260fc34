import type { Point } from "./part.ts";

/** OpenPose's 18 keypoints (COCO), in its order; left and right are the person's own. */
export const KEYPOINTS = [
  "nose",
  "neck",
  "right_shoulder",
  "right_elbow",
  "right_wrist",
  "left_shoulder",
  "left_elbow",
  "left_wrist",
  "right_hip",
  "right_knee",
  "right_ankle",
  "left_hip",
  "left_knee",
  "left_ankle",
  "right_eye",
  "left_eye",
  "right_ear",
  "left_ear",
] as const;
export type Keypoint = (typeof KEYPOINTS)[number];
export type Skeleton = Readonly<Record<Keypoint, Point>>;
