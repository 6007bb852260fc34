import { readFileSync } from "node:fs";
import { join } from "node:path";
import { decodeImage } from "../src/image/decode.ts";
import { fillCircle } from "../src/image/drawing/circle.ts";
import { fillConvex } from "../src/image/drawing/convex.ts";
import { ellipsePolygon } from "../src/image/drawing/ellipse.ts";
import { drawLine } from "../src/image/drawing/line.ts";
import type { Colour } from "../src/image/drawing/put.ts";
import { drawThickLine } from "../src/image/drawing/thick-line.ts";
import type { Pixels } from "../src/image/pixels.ts";
import { drawPose } from "../src/image/pose/draw.ts";
import { readPose } from "../src/image/pose/json.ts";
import type { KeyPoint, Person } from "../src/image/pose/person.ts";
import { PoseJson } from "../src/schema/pose.ts";
import type { Finding } from "./finding.ts";

/** A point as numbers; -1 where it is missing. */
type Place = readonly number[];

/** Points by number, and for each person which of them are its body's; hands come in pairs, left then right. */
interface Candidates {
  candidate: Place[];
  subset: number[][];
  hands?: Place[][];
  faces?: Place[][];
}

type Operation =
  | ["line", number, number, number, number, number, Colour]
  | ["circle", number, number, number, Colour]
  | ["limb", number, number, number, number, number, Colour];

interface Case {
  variant: string;
  pose?: unknown;
  ops?: Operation[];
  map: string;
  width: number;
  height: number;
}

function point(place: Place, width: number, height: number): KeyPoint | null {
  return place[0] === -1 ? null : { x: place[0]! * width, y: place[1]! * height };
}

/** People of controlnet_aux's and ControlNet's own form, whose hands and faces belong to nobody: they are drawn after all bodies. */
function people({ candidate, subset, hands = [], faces = [] }: Candidates, width: number, height: number): Person[] {
  const part = (places: Place[] | undefined) => places?.map((place) => point(place, width, height)) ?? null;
  const count = Math.max(subset.length, hands.length, faces.length);
  return Array.from({ length: count }, (_, i) => ({
    body: subset[i]?.slice(0, 18).map((n) => (n === -1 ? null : point(candidate[n]!, width, height))) ?? null,
    leftHand: part(hands[i]),
    rightHand: null,
    face: part(faces[i]),
  }));
}

function operated(operations: Operation[], width: number, height: number): Pixels {
  const map = { width, height, data: new Uint8Array(width * height * 3) };
  for (const operation of operations) {
    if (operation[0] === "line") {
      const [, x0, y0, x1, y1, thickness, colour] = operation;
      (thickness === 1 ? drawLine : drawThickLine)(map, x0, y0, x1, y1, colour);
    } else if (operation[0] === "circle") {
      const [, x, y, radius, colour] = operation;
      fillCircle(map, x, y, radius, colour);
    } else {
      const [, x, y, halfLength, halfWidth, angle, colour] = operation;
      fillConvex(map, ellipsePolygon([x, y], halfLength, halfWidth, angle), colour);
    }
  }
  return map;
}

const VARIANTS: Record<string, (reference: Case) => Pixels> = {
  openpose: ({ pose }) => drawPose(readPose(PoseJson.parse(pose)).pose),
  dwpose: ({ pose, width, height }) =>
    drawPose({ width, height, people: people(pose as Candidates, width, height) }, "dwpose"),
  controlnet: ({ pose, width, height }) =>
    drawPose({ width, height, people: people(pose as Candidates, 1, 1) }, "controlnet"),
  primitives: ({ ops, width, height }) => operated(ops!, width, height),
};

/** Every drawing of `<dir>/pose.json`. The error is the share of values that differ: none may. */
export async function check(dir: string): Promise<Finding[]> {
  const { cases }: { cases: Case[] } = JSON.parse(readFileSync(join(dir, "pose.json"), "utf8"));
  const findings: Finding[] = [];
  for (const reference of cases) {
    const wanted = await decodeImage(readFileSync(join(dir, reference.map)), { maxPixels: 50_000_000 });
    const got = VARIANTS[reference.variant]!(reference);
    const off = wanted.data.reduce((count, value, i) => count + (value === got.data[i] ? 0 : 1), 0);
    const error = got.width === wanted.width ? off / wanted.data.length : 1;
    findings.push({ subject: `${reference.variant} ${reference.map}`, error, bound: 0 });
  }
  return findings;
}
