import { COLOURS, type Colour, lit, type Rgb } from "./colours.ts";
import type { Dice } from "./dice.ts";
import { ellipse, type Outline, type Part, type Point, stroke } from "./part.ts";
import type { Keypoint, Skeleton } from "./skeleton.ts";
import { one, type Place, type Thing } from "./thing.ts";

const SHIRTS = [
  "red",
  "orange",
  "yellow",
  "green",
  "blue",
  "purple",
  "pink",
  "white",
] as const satisfies readonly Colour[];
const TROUSERS: readonly Rgb[] = [
  [40, 52, 96],
  [92, 66, 48],
  [58, 60, 66],
];
const SKINS: readonly Rgb[] = [
  [248, 206, 168],
  [214, 160, 116],
  [136, 90, 62],
];
const HAIRS: readonly Rgb[] = [
  [56, 38, 28],
  [134, 82, 36],
  [226, 184, 92],
];

/** About how wide a person is, arms and legs apart, in pixels. */
export const PERSON_WIDTH = 34;

/** Degrees of a limb from hanging straight down, outward: upper and lower arm, thigh and shin. */
interface Limbs {
  readonly right: { readonly arm: readonly [number, number]; readonly leg: readonly [number, number] };
  readonly left: { readonly arm: readonly [number, number]; readonly leg: readonly [number, number] };
}

const DOWN = [14, 8] as const;
const STRAIGHT = [7, 4] as const;
const POSES: readonly Limbs[] = [
  // standing
  { right: { arm: DOWN, leg: STRAIGHT }, left: { arm: DOWN, leg: STRAIGHT } },
  // waving
  { right: { arm: DOWN, leg: STRAIGHT }, left: { arm: [105, 165], leg: STRAIGHT } },
  // both arms up
  { right: { arm: [135, 165], leg: [14, 10] }, left: { arm: [135, 165], leg: [14, 10] } },
  // arms spread
  { right: { arm: [84, 90], leg: [12, 8] }, left: { arm: [84, 90], leg: [12, 8] } },
  // a jumping jack
  { right: { arm: [128, 128], leg: [32, 28] }, left: { arm: [128, 128], leg: [32, 28] } },
  // walking
  { right: { arm: [34, 48], leg: [26, 16] }, left: { arm: [34, 20], leg: [24, 34] } },
  // running
  { right: { arm: [58, 120], leg: [50, 8] }, left: { arm: [52, -30], leg: [30, 74] } },
  // hands on the hips
  { right: { arm: [52, -48], leg: [10, 6] }, left: { arm: [52, -48], leg: [10, 6] } },
  // pointing
  { right: { arm: [90, 90], leg: STRAIGHT }, left: { arm: DOWN, leg: [12, 8] } },
];

/** Lengths as shares of a person's height. */
const LENGTHS = { upperArm: 0.17, forearm: 0.16, thigh: 0.2, shin: 0.2 };
const SHOULDERS = 0.1;
const HIPS = 0.06;
const HEAD = 0.115;

const DEGREE = Math.PI / 180;
const along = ([x, y]: Point, degrees: number, length: number, side: number): Point => [
  x + side * length * Math.sin(degrees * DEGREE),
  y + length * Math.cos(degrees * DEGREE),
];

/** A pose, each angle a little different each time, on feet that stand at (x, y). */
function skeleton(dice: Dice, x: number, y: number, height: number): Skeleton {
  const pose = dice.pick(POSES);
  const mirrored = dice.chance(0.5);
  const jitter = ([upper, lower]: readonly [number, number]) =>
    [upper + dice.between(-7, 7), lower + dice.between(-7, 7)] as const;
  // The person's right is the picture's left.
  const limbs = (side: -1 | 1) => {
    const { arm, leg } = (side === -1) !== mirrored ? pose.right : pose.left;
    return { arm: jitter(arm), leg: jitter(leg) };
  };
  const build = (hip: number) => {
    const neck: Point = [x, hip - 0.31 * height];
    const half = (side: -1 | 1, { arm, leg }: ReturnType<typeof limbs>) => {
      const shoulder: Point = [x + side * SHOULDERS * height, neck[1] + 0.025 * height];
      const elbow = along(shoulder, arm[0], LENGTHS.upperArm * height, side);
      const hipJoint: Point = [x + side * HIPS * height, hip];
      const knee = along(hipJoint, leg[0], LENGTHS.thigh * height, side);
      return {
        shoulder,
        elbow,
        wrist: along(elbow, arm[1], LENGTHS.forearm * height, side),
        hip: hipJoint,
        knee,
        ankle: along(knee, leg[1], LENGTHS.shin * height, side),
      };
    };
    return { neck, half };
  };
  const [right, left] = [limbs(-1), limbs(1)];
  // Where the hips are follows from the lower foot.
  const trial = build(0);
  const lower = Math.max(trial.half(-1, right).ankle[1], trial.half(1, left).ankle[1]);
  const { neck, half } = build(y - 0.03 * height - lower);
  const [r, l] = [half(-1, right), half(1, left)];
  const face: Point = [x, neck[1] - 0.05 * height - HEAD * height];
  const of = (dx: number, dy: number): Point => [face[0] + dx * HEAD * height, face[1] + dy * HEAD * height];
  return {
    nose: of(0, 0.15),
    neck,
    right_shoulder: r.shoulder,
    right_elbow: r.elbow,
    right_wrist: r.wrist,
    left_shoulder: l.shoulder,
    left_elbow: l.elbow,
    left_wrist: l.wrist,
    right_hip: r.hip,
    right_knee: r.knee,
    right_ankle: r.ankle,
    left_hip: l.hip,
    left_knee: l.knee,
    left_ankle: l.ankle,
    right_eye: of(-0.38, -0.08),
    left_eye: of(0.38, -0.08),
    right_ear: of(-0.95, 0.05),
    left_ear: of(0.95, 0.05),
  };
}

export function person(dice: Dice, { x, y, near, hour }: Place): Thing {
  const shirt = dice.pick(SHIRTS);
  const colour = (rgb: Rgb) => lit(rgb, hour);
  const [cloth, trousers, skin, hair] = [COLOURS[shirt], dice.pick(TROUSERS), dice.pick(SKINS), dice.pick(HAIRS)].map(
    colour,
  ) as [Rgb, Rgb, Rgb, Rgb];
  const height = dice.between(46, 58);
  const joints = skeleton(dice, x, y, height);
  const part = (outline: Outline, fill: Rgb, rest: Partial<Part> = {}): Part => ({
    outline,
    fill,
    class: "person",
    facing: "ball",
    near,
    ...rest,
  });
  const limb = (a: Keypoint, b: Keypoint, width: number, fill: Rgb, rest: Partial<Part> = {}) =>
    part(stroke(joints[a], joints[b], width * height), fill, { facing: "pillar", ...rest });
  const dot = ([cx, cy]: Point, r: number, fill: Rgb, rest: Partial<Part> = {}) =>
    part(ellipse(cx, cy, r * height), fill, rest);
  const sides = ["right", "left"] as const;
  const legs = sides.flatMap((side) => [
    limb(`${side}_hip`, `${side}_knee`, 0.115, trousers),
    limb(`${side}_knee`, `${side}_ankle`, 0.1, trousers),
  ]);
  const shoes = sides.map((side) => dot(joints[`${side}_ankle`], 0.055, colour([44, 40, 44])));
  const arms = sides.flatMap((side) => [
    dot(joints[`${side}_wrist`], 0.05, skin),
    limb(`${side}_shoulder`, `${side}_elbow`, 0.095, cloth),
    limb(`${side}_elbow`, `${side}_wrist`, 0.085, cloth),
  ]);
  const { neck, right_shoulder: rs, left_shoulder: ls, right_hip: rh, left_hip: lh, nose } = joints;
  const wide = 0.035 * height;
  const torso = part(
    [
      [rs[0] - wide, rs[1] - wide * 0.6],
      [ls[0] + wide, ls[1] - wide * 0.6],
      [lh[0] + wide * 1.3, lh[1] + wide * 1.2],
      [rh[0] - wide * 1.3, rh[1] + wide * 1.2],
    ],
    cloth,
    { facing: "pillar", said: shirt },
  );
  const head: Point = [nose[0], nose[1] - 0.15 * HEAD * height];
  const r = HEAD * height;
  return {
    skeleton: joints,
    parts: [
      ...shoes,
      ...legs,
      part(stroke([neck[0], neck[1] + 1], [head[0], head[1]], 0.075 * height), skin, { facing: "pillar" }),
      torso,
      ...arms,
      part(ellipse(head[0], head[1] - 0.22 * r, 1.08 * r, 0.95 * r), hair),
      part(ellipse(head[0], head[1] + 0.14 * r, 0.92 * r, 0.88 * r), skin),
      dot(joints.right_eye, 0.017, [30, 26, 30], { detail: true }),
      dot(joints.left_eye, 0.017, [30, 26, 30], { detail: true }),
    ],
    said: one(`person in ${one(`${shirt} shirt`)}`),
    plural: "",
  };
}
