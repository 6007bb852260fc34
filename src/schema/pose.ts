/** Key points of people in OpenPose's JSON, as Mikubill/sd-webui-controlnet writes it. */

import { z } from "zod";
import { closed } from "./closed.ts";
import { MAX_SIDE } from "./fields.ts";

const MAX_PEOPLE = 100;
/** The farthest that a point may lie from the canvas' corner, in pixels. */
const FARTHEST = 32_767;

const points = (name: string, counts: readonly number[]) =>
  z
    .array(z.number().min(-FARTHEST).max(FARTHEST))
    .refine((list) => list.length === 0 || counts.includes(list.length / 3), {
      error: `must be x, y and confidence of ${counts.join(" or ")} points, or empty`,
    })
    .nullable()
    .default(null)
    .describe(
      `${name}: x, y, confidence of each of ${counts.join(" or ")} points. When no coordinate is beyond 1, they are shares of the canvas; else pixels.`,
    );

/** Of the kinds that OpenPose writes, but that no map is made of. */
const unused = z
  .array(z.unknown())
  .max(0, "is not drawn: must be empty")
  .nullable()
  .optional()
  .describe("Not drawn: must be empty.");

const canvasSide = z
  .int()
  .min(1)
  .max(MAX_SIDE)
  .meta({ examples: [512] });

const PosePerson = closed({
  pose_keypoints_2d: points("Body, in OpenPose's order (COCO's 18 or BODY_25)", [18, 25]),
  hand_left_keypoints_2d: points("Left hand", [21]),
  hand_right_keypoints_2d: points("Right hand", [21]),
  face_keypoints_2d: points("Face", [68, 70]),
  person_id: z.array(z.number()).optional().describe("Ignored: OpenPose writes it."),
  pose_keypoints_3d: unused,
  hand_left_keypoints_3d: unused,
  hand_right_keypoints_3d: unused,
  face_keypoints_3d: unused,
});

export const PoseJson = closed({
  people: z.array(PosePerson).max(MAX_PEOPLE).describe("The key points of each."),
  canvas_width: canvasSide.describe("Pixels of the picture that the points belong to, which is the map's size."),
  canvas_height: canvasSide.describe("Pixels."),
  animals: unused,
  version: z
    .union([z.string(), z.number()])
    .optional()
    .describe("Ignored: OpenPose writes it.")
    .meta({ examples: [1.3] }),
}).meta({ id: "Pose" });
export type PoseJson = z.output<typeof PoseJson>;
