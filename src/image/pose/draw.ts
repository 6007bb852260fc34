/**
 * Skeletons as the maps that ControlNets for poses were trained with, to the byte. Three ways exist:
 * - `openpose`: person by person; limbs in 0.6 of their colour, then the points over them (controlnet_aux `open_pose`, and
 *   Mikubill/sd-webui-controlnet);
 * - `dwpose`: all limbs, the whole then darkened, all points, all hands, all faces (controlnet_aux `dwpose`);
 * - `controlnet`: points first, limbs blended over them one by one; no hands and faces (lllyasviel/ControlNet 1.0).
 */
import { fillCircle } from "../drawing/circle.ts";
import { fillConvex } from "../drawing/convex.ts";
import { ellipsePolygon } from "../drawing/ellipse.ts";
import type { Colour } from "../drawing/put.ts";
import { drawThickLine } from "../drawing/thick-line.ts";
import type { Pixels } from "../pixels.ts";
import { roundHalfEven } from "../rounding.ts";
import type { KeyPoint, KeyPoints, Person, Pose } from "./person.ts";
import { BODY_COLOURS, FACE_POINT, HAND_COLOURS, HAND_EDGES, HAND_POINT, LIMBS } from "./skeleton.ts";

const [HALF_WIDTH, BODY_RADIUS, HAND_RADIUS, FACE_RADIUS] = [4, 4, 4, 3];
const LIMB_SHARE = 0.6;
const dimmed = (value: number) => Math.trunc(value * LIMB_SHARE);

const styles = { openpose, dwpose, controlnet } satisfies Record<
  string,
  (map: Pixels, people: readonly Person[]) => void
>;
export type PoseStyle = keyof typeof styles;

export function drawPose({ width, height, people }: Pose, style: PoseStyle = "openpose"): Pixels {
  const map = { width, height, data: new Uint8Array(width * height * 3) };
  styles[style](map, people);
  return map;
}

function openpose(map: Pixels, people: readonly Person[]): void {
  for (const { body, leftHand, rightHand, face } of people) {
    for (const { a, b, colour } of limbsOf(body)) drawLimb(map, a, b, colour.map(dimmed) as unknown as Colour);
    drawBodyPoints(map, body);
    drawHand(map, leftHand);
    drawHand(map, rightHand);
    drawDots(map, face, FACE_RADIUS, FACE_POINT);
  }
}

function dwpose(map: Pixels, people: readonly Person[]): void {
  for (let limb = 0; limb < LIMBS.length; limb++)
    for (const { body } of people) for (const { a, b, colour } of limbsOf(body, limb)) drawLimb(map, a, b, colour);
  for (let i = 0; i < map.data.length; i++) map.data[i] = dimmed(map.data[i]!);
  for (let point = 0; point < BODY_COLOURS.length; point++)
    for (const { body } of people) drawBodyPoints(map, body, point);
  for (const { leftHand, rightHand } of people) {
    drawHand(map, leftHand);
    drawHand(map, rightHand);
  }
  for (const { face } of people) drawDots(map, face, FACE_RADIUS, FACE_POINT);
}

function controlnet(map: Pixels, people: readonly Person[]): void {
  for (let point = 0; point < BODY_COLOURS.length; point++)
    for (const { body } of people) drawBodyPoints(map, body, point);
  for (let limb = 0; limb < LIMBS.length; limb++)
    for (const { body } of people)
      for (const { a, b, colour } of limbsOf(body, limb)) {
        const over = { ...map, data: map.data.slice() };
        drawLimb(over, a, b, colour);
        for (let i = 0; i < map.data.length; i++)
          map.data[i] = roundHalfEven(Math.fround(map.data[i]! * (1 - LIMB_SHARE) + over.data[i]! * LIMB_SHARE));
      }
}

/** The limbs of a body whose ends are both there: all, or that one. */
function limbsOf(body: KeyPoints | null, only?: number) {
  const limbs = only === undefined ? [...LIMBS.keys()] : [only];
  return limbs.flatMap((limb) => {
    const [a, b] = LIMBS[limb]!.map((point) => body?.[point] ?? null) as [KeyPoint | null, KeyPoint | null];
    return a === null || b === null ? [] : [{ a, b, colour: BODY_COLOURS[limb]! }];
  });
}

/** An ellipse from one point to the other. */
function drawLimb(map: Pixels, a: KeyPoint, b: KeyPoint, colour: Colour): void {
  const [dx, dy] = [a.x - b.x, a.y - b.y];
  const angle = Math.trunc((Math.atan2(dy, dx) * 180) / Math.PI);
  const middle = [Math.trunc((a.x + b.x) / 2), Math.trunc((a.y + b.y) / 2)] as const;
  const halfLength = Math.trunc(Math.sqrt(dy ** 2 + dx ** 2) / 2);
  fillConvex(map, ellipsePolygon(middle, halfLength, HALF_WIDTH, angle), colour);
}

function drawBodyPoints(map: Pixels, body: KeyPoints | null, only?: number): void {
  for (const [i, point] of body?.entries() ?? [])
    if (point !== null && (only === undefined || only === i))
      fillCircle(map, Math.trunc(point.x), Math.trunc(point.y), BODY_RADIUS, BODY_COLOURS[i]!);
}

/** Whole pixels; null for what is missing, or in the first row or column or beyond, which is taken for missing upstream. */
function pixelOf(point: KeyPoint | null | undefined): readonly [number, number] | null {
  if (!point) return null;
  const [x, y] = [Math.trunc(point.x), Math.trunc(point.y)];
  return x > 0 && y > 0 ? [x, y] : null;
}

function drawHand(map: Pixels, hand: KeyPoints | null): void {
  if (hand === null) return;
  for (const [i, ends] of HAND_EDGES.entries()) {
    const [a, b] = ends.map((point) => pixelOf(hand[point])) as [
      ReturnType<typeof pixelOf>,
      ReturnType<typeof pixelOf>,
    ];
    if (a !== null && b !== null) drawThickLine(map, ...a, ...b, HAND_COLOURS[i]!);
  }
  drawDots(map, hand, HAND_RADIUS, HAND_POINT);
}

function drawDots(map: Pixels, points: KeyPoints | null, radius: number, colour: Colour): void {
  for (const point of points ?? []) {
    const pixel = pixelOf(point);
    if (pixel !== null) fillCircle(map, ...pixel, radius, colour);
  }
}
