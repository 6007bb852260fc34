/** A point of a body in pixels of the picture, with how sure the network is. */
export interface FoundPoint {
  readonly x: number;
  readonly y: number;
  readonly score: number;
}

/** A person as OpenPose counts: 18 points of the body; 21 of each hand, 70 of the face, or none. A missing point is null. */
export interface FoundPerson {
  readonly body: readonly (FoundPoint | null)[];
  readonly leftHand: readonly (FoundPoint | null)[] | null;
  readonly rightHand: readonly (FoundPoint | null)[] | null;
  readonly face: readonly (FoundPoint | null)[] | null;
}

/** Points that are less sure are taken for missing. */
export const LEAST_SCORE = 0.3;

const seen = (point: FoundPoint): FoundPoint | null => (point.score < LEAST_SCORE ? null : point);

function part(points: readonly FoundPoint[]): (FoundPoint | null)[] | null {
  const found = points.map(seen);
  return found.some((point) => point !== null) ? found : null;
}

/** Between the shoulders; there when both are. */
function neck(a: FoundPoint, b: FoundPoint): FoundPoint {
  return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, score: a.score > LEAST_SCORE && b.score > LEAST_SCORE ? 1 : 0 };
}

/** OpenPose's 18 points of the body by COCO's numbers; -1 is the neck. */
const BODY = [0, -1, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3];

const body = (coco: readonly FoundPoint[]) => BODY.map((i) => (i === -1 ? neck(coco[5]!, coco[6]!) : coco[i]!));

/** COCO-WholeBody's 133 points as 134: body 0 … 17, feet 18 … 23, face 24 … 91, left hand 92 … 112, right hand 113 … 133. */
export const withNeck = (wholeBody: readonly FoundPoint[]): FoundPoint[] => [
  ...body(wholeBody),
  ...wholeBody.slice(17),
];

/** A person from those 134 points. OpenPose's face ends with the eyes' pupils, which are taken from the body. */
export function wholePerson(points: readonly FoundPoint[]): FoundPerson {
  const body = points.slice(0, 18).map(seen);
  const face = part(points.slice(24, 92));
  return {
    body,
    leftHand: part(points.slice(92, 113)),
    rightHand: part(points.slice(113, 134)),
    face: face && [...face, body[14]!, body[15]!],
  };
}

/** A person from COCO's 17 points. */
export const bodyPerson = (coco: readonly FoundPoint[]): FoundPerson => ({
  body: body(coco).map(seen),
  leftHand: null,
  rightHand: null,
  face: null,
});
