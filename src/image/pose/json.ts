import type { PoseJson } from "../../schema/pose.ts";
import type { KeyPoint, KeyPoints, Person, Pose } from "./person.ts";

type Triples = readonly number[] | null;
/** The 18 points of COCO's skeleton among BODY_25's, which has the middle of the hips as 8 and feet after the ears. */
const BODY_25 = [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18];

/**
 * The pose that a valid pose JSON holds, and what the client should know of it.
 * @param minConfidence a point of less is missing. A1111's extension takes 1: it writes nothing else for a point that is there.
 */
export function readPose(json: PoseJson, minConfidence = 1): { pose: Pose; warnings: string[] } {
  const { canvas_width: width, canvas_height: height } = json;
  let [unsure, seen] = [0, 0];
  const part = (triples: Triples): KeyPoints | null => {
    if (triples === null || triples.length === 0) return null;
    const points: (KeyPoint | null)[] = [];
    for (let i = 0; i < triples.length; i += 3) {
      const [x, y, confidence] = [triples[i]!, triples[i + 1]!, triples[i + 2]!];
      const isSeen = confidence >= minConfidence;
      if (isSeen) seen++;
      else if (confidence > 0) unsure++;
      points.push(isSeen ? { x, y } : null);
    }
    return inPixels(points, width, height);
  };
  const people = json.people.map((person): Person => {
    const body = part(person.pose_keypoints_2d);
    return {
      body: body?.length === 25 ? BODY_25.map((point) => body[point]!) : body,
      leftHand: part(person.hand_left_keypoints_2d),
      rightHand: part(person.hand_right_keypoints_2d),
      face: part(person.face_keypoints_2d),
    };
  });
  const warnings: string[] = [];
  if (unsure > 0)
    warnings.push(`${unsure} points have a confidence above 0 but below ${minConfidence}: they are taken for missing`);
  if (seen === 0) warnings.push("the pose has no point that is there: its map is black");
  return { pose: { width, height, people }, warnings };
}

/** A list whose coordinates are all within 1 of the corner is in shares of the canvas. */
function inPixels(points: KeyPoints, width: number, height: number): KeyPoints {
  const isShare = points.every((point) => point === null || (Math.abs(point.x) <= 1 && Math.abs(point.y) <= 1));
  return isShare ? points.map((point) => point && { x: point.x * width, y: point.y * height }) : points;
}

/** A pose as JSON: pixels; a point that is there has the confidence 1, one that is missing is all zero. */
export function writePose({ width, height, people }: Pose): PoseJson {
  const triples = (points: KeyPoints | null) =>
    points === null ? null : points.flatMap((point) => (point === null ? [0, 0, 0] : [point.x, point.y, 1]));
  return {
    people: people.map(({ body, leftHand, rightHand, face }) => ({
      pose_keypoints_2d: triples(body),
      hand_left_keypoints_2d: triples(leftHand),
      hand_right_keypoints_2d: triples(rightHand),
      face_keypoints_2d: triples(face),
    })),
    canvas_width: width,
    canvas_height: height,
  };
}
