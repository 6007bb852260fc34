// People as OpenPose draws and writes them: 18 key points, 17 limbs, in its colours (the COCO model).

export const JOINTS = /** @type {const} */ ([
  "nose",
  "neck",
  "right shoulder",
  "right elbow",
  "right wrist",
  "left shoulder",
  "left elbow",
  "left wrist",
  "right hip",
  "right knee",
  "right ankle",
  "left hip",
  "left knee",
  "left ankle",
  "right eye",
  "left eye",
  "right ear",
  "left ear",
]);

/** Pairs of joints, in the order of the colours. */
export const LIMBS = /** @type {const} */ ([
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
]);

/** Of joint i; limb i has it at 60 % of its light. */
export const COLORS = [
  "#ff0000",
  "#ff5500",
  "#ffaa00",
  "#ffff00",
  "#aaff00",
  "#55ff00",
  "#00ff00",
  "#00ff55",
  "#00ffaa",
  "#00ffff",
  "#00aaff",
  "#0055ff",
  "#0000ff",
  "#5500ff",
  "#aa00ff",
  "#ff00ff",
  "#ff00aa",
  "#ff0055",
];
const LIMB_LIGHT = 0.6;

/** The other side's joint of each. */
const MIRRORED = [0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16];

/** @typedef {{x: number, y: number, seen: boolean}} Joint in shares of the picture's width and height */
/** @typedef {Joint[]} Person */

/** Somebody who stands and waves, in units of the body's height; x from the middle, y from the top. */
const STANDING = [
  [0, 0.08],
  [0, 0.19],
  [-0.1, 0.21],
  [-0.15, 0.37],
  [-0.17, 0.53],
  [0.1, 0.21],
  [0.24, 0.15],
  [0.27, -0.01],
  [-0.06, 0.5],
  [-0.08, 0.72],
  [-0.09, 0.95],
  [0.06, 0.5],
  [0.08, 0.72],
  [0.09, 0.95],
  [-0.025, 0.055],
  [0.025, 0.055],
  [-0.055, 0.07],
  [0.055, 0.07],
];

/**
 * @param {number} middle where they stand, as a share of the width
 * @param {number} aspect of the picture: width ÷ height
 * @returns {Person}
 */
export function standing(middle, aspect) {
  const height = Math.min(0.84, 1.3 * aspect);
  const top = 0.93 - 0.95 * height;
  return STANDING.map(([x = 0, y = 0]) => ({ x: middle + (x * height) / aspect, y: top + y * height, seen: true }));
}

/** Left for right, in place. @param {Person} person @returns {Person} */
export function mirrored(person) {
  const xs = person.map(({ x }) => x);
  const sum = Math.min(...xs) + Math.max(...xs);
  return MIRRORED.map((from) => {
    const { x, y, seen } = /** @type {Joint} */ (person[from]);
    return { x: sum - x, y, seen };
  });
}

/** The radius of a joint and half the width of a limb, in pixels: OpenPose's 4 at 512, and never too thin to be seen. */
export const thickness = (/** @type {number} */ width, /** @type {number} */ height) =>
  Math.max(1.2, Math.min(4, (4 * Math.min(width, height)) / 512));

/**
 * Draws as OpenPose does: limbs as ellipses, joints as discs upon them, on black.
 * @param {Person[]} people @param {number} width @param {number} height
 */
export function drawPeople(people, width, height) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.fillRect(0, 0, width, height);
  const half = thickness(width, height);
  for (const person of people) {
    for (const [i, [from, to]] of LIMBS.entries()) {
      const [a, b] = [/** @type {Joint} */ (person[from]), /** @type {Joint} */ (person[to])];
      if (!a.seen || !b.seen) continue;
      const [dx, dy] = [(b.x - a.x) * width, (b.y - a.y) * height];
      context.beginPath();
      const [x, y] = [((a.x + b.x) / 2) * width, ((a.y + b.y) / 2) * height];
      context.ellipse(x, y, Math.hypot(dx, dy) / 2, half, Math.atan2(dy, dx), 0, 2 * Math.PI);
      context.fillStyle = dimmed(COLORS[i] ?? "");
      context.fill();
    }
    for (const [i, { x, y, seen }] of person.entries()) {
      if (!seen) continue;
      context.beginPath();
      context.arc(x * width, y * height, Math.max(half, 1.6), 0, 2 * Math.PI);
      context.fillStyle = COLORS[i] ?? "";
      context.fill();
    }
  }
  return canvas;
}

/** @param {string} color "#rrggbb" */
export function dimmed(color) {
  const channels = [1, 3, 5].map((at) => Math.floor(Number.parseInt(color.slice(at, at + 2), 16) * LIMB_LIGHT));
  return `rgb(${channels.join(" ")})`;
}

/** OpenPose's JSON, in pixels. @param {Person[]} people @param {number} width @param {number} height */
export function toJson(people, width, height) {
  const rounded = (/** @type {number} */ value) => Math.round(value * 100) / 100;
  return {
    people: people.map((person) => ({
      pose_keypoints_2d: person.flatMap(({ x, y, seen }) =>
        seen ? [rounded(x * width), rounded(y * height), 1] : [0, 0, 0],
      ),
    })),
    canvas_width: width,
    canvas_height: height,
  };
}

/** @param {string} text OpenPose's JSON, or a list of it @returns {Person[]} @throws when it is none */
export function fromJson(text) {
  const parsed = JSON.parse(text);
  const { people, canvas_width: width = 1, canvas_height: height = 1 } = Array.isArray(parsed) ? parsed[0] : parsed;
  if (!Array.isArray(people)) throw new Error('It has no "people".');
  return people.map(({ pose_keypoints_2d: points }, i) => {
    if (points?.length !== 3 * JOINTS.length) {
      throw new Error(
        `people[${i}].pose_keypoints_2d must have ${3 * JOINTS.length} numbers: x, y and confidence of 18 joints.`,
      );
    }
    const inShares = points.every((/** @type {number} */ value) => value <= 1);
    const [w, h] = inShares ? [1, 1] : [width, height];
    return JOINTS.map((_, j) => ({ x: points[3 * j] / w, y: points[3 * j + 1] / h, seen: points[3 * j + 2] > 0 }));
  });
}
