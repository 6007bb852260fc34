/** The exact control maps of a scene: one function a condition, each SIDE × SIDE pixels. */
import { canny } from "../../src/image/annotators/canny.ts";
import type { Pixels } from "../../src/image/pixels.ts";
import { Dice } from "./dice.ts";
import { SIDE } from "./landscape.ts";
import { boxOf, type Class, type Outline, type Part, type Point, type Point3 } from "./part.ts";
import { drawPose } from "./pose.ts";
import { path, rasterise, render } from "./render.ts";
import type { Scene } from "./scene.ts";

/** The segmentation's colours: far apart, and none that the scenes have. */
export const PALETTE: Readonly<Record<Class, readonly [number, number, number]>> = {
  sky: [0, 0, 255],
  light: [255, 255, 0],
  cloud: [255, 255, 255],
  mountain: [128, 128, 128],
  ground: [0, 128, 0],
  water: [0, 255, 255],
  wall: [255, 128, 0],
  roof: [255, 0, 0],
  opening: [128, 0, 0],
  tree: [0, 255, 0],
  car: [255, 0, 255],
  person: [128, 0, 255],
};

/** Which part each pixel shows, [SIDE · SIDE]: its place in scene.parts. */
export async function visibleParts(parts: readonly Part[]): Promise<Uint16Array> {
  const drawn = parts.map(({ outline }, i) => `<path d="${path(outline)}" fill="rgb(${i >> 8},${i & 255},0)"/>`);
  const { data } = await rasterise(drawn.join(""), 'shape-rendering="crispEdges"');
  return Uint16Array.from({ length: SIDE * SIDE }, (_, p) => data[3 * p]! * 256 + data[3 * p + 1]!);
}

type Box = ReturnType<typeof boxOf>;

/** A map whose pixels depend on the part that they show, [SIDE · SIDE] places in scene.parts, and on where in it they are. */
const perPixel =
  (paint: (part: Part, box: Box, x: number, y: number) => readonly [number, number, number]) =>
  ({ parts }: Scene, shown: Uint16Array): Pixels => {
    const boxes = parts.map(({ outline }) => boxOf(outline));
    const data = new Uint8Array(3 * SIDE * SIDE);
    shown.forEach((part, p) => {
      data.set(paint(parts[part]!, boxes[part]!, (p % SIDE) + 0.5, Math.floor(p / SIDE) + 0.5), 3 * p);
    });
    return { width: SIDE, height: SIDE, data };
  };

function facingAt({ facing }: Part, { left, right, top, bottom }: Box, x: number, y: number): Point3 {
  if (typeof facing !== "string") {
    return facing;
  }
  const across = (2 * (x - left)) / (right - left) - 1;
  const up = facing === "ball" ? 1 - (2 * (y - top)) / (bottom - top) : 0;
  const length = Math.hypot(across, up);
  const [nx, ny] = length > 1 ? [across / length, up / length] : [across, up];
  return [nx, ny, Math.sqrt(Math.max(0, 1 - nx * nx - ny * ny))];
}

/** Maps of surfaces, from which part each pixel shows. */
export const surfaceMaps = {
  segmentation: perPixel((part) => PALETTE[part.class]),
  /** Near is white, as MiDaS has it: the inverse of the distance, in shares of the nearest. */
  depth: perPixel(({ near }, { top, bottom }, _, y) => {
    const share = Math.min(Math.max((y - top) / (bottom - top), 0), 1);
    const value = typeof near === "number" ? near : near[0] + (near[1] - near[0]) * share;
    const grey = Math.round(255 * Math.min(Math.max(value, 0), 1));
    return [grey, grey, grey];
  }),
  /** Red to the right, green up, blue toward the viewer: -1 … 1 as 0 … 255. */
  normal: perPixel((part, box, x, y) => {
    const [nx, ny, nz] = facingAt(part, box, x, y).map((value) => Math.round(127.5 + 127.5 * value));
    return [nx!, ny!, nz!];
  }),
};

/** Neighbouring parts of one colour are one surface: no line is drawn between them. */
function surfaces(parts: readonly Part[]): Part[][] {
  const groups: Part[][] = [];
  for (const part of parts) {
    const last = groups.at(-1);
    const before = last?.[0];
    if (before?.fill === part.fill && before.class === part.class) {
      last!.push(part);
    } else {
      groups.push([part]);
    }
  }
  return groups;
}

/** What ends at the picture's edge goes on beyond it: no line is drawn there. */
function beyond(outline: Outline): Outline {
  const push = (value: number) => (value <= 0 ? value - 20 : value >= SIDE ? value + 20 : value);
  return outline.map(([x, y]) => [push(x), push(y)]);
}

/** White lines around surfaces on black; each surface hides the lines behind it. */
function outlined(groups: readonly (readonly Outline[])[], width: number): Promise<Pixels> {
  const drawn = groups.map((outlines) => {
    const all = outlines.map(path).join("");
    // The inner half of the stroke is painted over, so that a surface made of several outlines has one around it all.
    return `<path d="${all}" fill="none" stroke="white" stroke-width="${2 * width}"/><path d="${all}" fill="black"/>`;
  });
  return rasterise(drawn.join(""), 'stroke-linejoin="round"');
}

/** Every edge between surfaces, thin. */
export const lineart = ({ parts }: Scene) =>
  outlined(
    surfaces(parts).map((group) => group.map(({ outline }) => beyond(outline))),
    1.2,
  );

/** Straight edges at least this long count as lines. */
const SHORTEST_LINE = 8;

/** The straight edges of what is not alive, as M-LSD finds them: white, one pixel wide. */
export function houghLines({ parts }: Scene): Promise<Pixels> {
  const drawn = parts.map(({ outline, class: kind }) => {
    const whole = beyond(outline);
    const edges = whole.map((point, i): [Point, Point] => [point, whole[(i + 1) % whole.length]!]);
    const isLong = ([[x1, y1], [x2, y2]]: [Point, Point]) => Math.hypot(x2 - x1, y2 - y1) >= SHORTEST_LINE;
    const lines = kind === "person" ? [] : edges.filter(isLong);
    const strokes = lines.map(
      ([[x1, y1], [x2, y2]]) => `M${x1.toFixed(2)} ${y1.toFixed(2)}L${x2.toFixed(2)} ${y2.toFixed(2)}`,
    );
    return `<path d="${path(outline)}" fill="black"/><path d="${strokes.join("")}" stroke="white" stroke-width="1"/>`;
  });
  return rasterise(drawn.join(""));
}

/** How far a hand errs, in pixels, and over what distance it comes back. */
const [WOBBLE, WAVELENGTH] = [1.5, 22];

/** A hand's errors: where it draws instead of (x, y). The same at neighbouring points. */
function wobbling(dice: Dice): (point: Point) => Point {
  const waves = Array.from({ length: 6 }, () => {
    const angle = dice.between(0, 2 * Math.PI);
    const step = (2 * Math.PI) / (WAVELENGTH * dice.between(0.7, 1.6));
    return {
      fx: step * Math.cos(angle),
      fy: step * Math.sin(angle),
      phase: dice.between(0, 2 * Math.PI),
      turn: dice.between(0, 2 * Math.PI),
    };
  });
  return ([x, y]) => {
    let [dx, dy] = [0, 0];
    for (const { fx, fy, phase, turn } of waves) {
      const size = (WOBBLE / Math.sqrt(waves.length)) * 1.4 * Math.sin(fx * x + fy * y + phase);
      dx += size * Math.cos(turn);
      dy += size * Math.sin(turn);
    }
    return [x + dx, y + dy];
  };
}

/** An outline with points at most 3 pixels apart. */
function subdivided(outline: Outline): Outline {
  return outline.flatMap(([x1, y1], i) => {
    const [x2, y2] = outline[(i + 1) % outline.length]!;
    const count = Math.max(1, Math.ceil(Math.hypot(x2 - x1, y2 - y1) / 3));
    return Array.from({ length: count }, (_, k): Point => [x1 + ((x2 - x1) * k) / count, y1 + ((y2 - y1) * k) / count]);
  });
}

/** Outlines as a hand draws them with a thick pen, without small things. */
export function scribble({ parts, seed }: Scene): Promise<Pixels> {
  const wobble = wobbling(new Dice(seed));
  const large = parts.filter(({ detail }) => detail === undefined);
  return outlined(
    surfaces(large).map((group) => group.map(({ outline }) => subdivided(beyond(outline)).map(wobble))),
    2.4,
  );
}

/** controlnet_aux's. */
export const EDGE_THRESHOLDS = [100, 200] as const;

export const conditions = {
  canny: async (scene: Scene) => canny(await render(scene), ...EDGE_THRESHOLDS),
  hough_lines: houghLines,
  scribble,
  pose: drawPose,
  segmentation: async (scene: Scene) => surfaceMaps.segmentation(scene, await visibleParts(scene.parts)),
  normal: async (scene: Scene) => surfaceMaps.normal(scene, await visibleParts(scene.parts)),
  depth: async (scene: Scene) => surfaceMaps.depth(scene, await visibleParts(scene.parts)),
  lineart,
} satisfies Record<string, (scene: Scene) => Promise<Pixels>>;
export type Condition = keyof typeof conditions;
export const CONDITIONS = Object.keys(conditions) as Condition[];
