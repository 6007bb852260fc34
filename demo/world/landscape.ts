/** Sky, mountains, ground and water: what lies behind everything else. */
import { type Hour, lit, type Rgb, shade } from "./colours.ts";
import type { Dice } from "./dice.ts";
import { crescent, ellipse, type Outline, type Part, type Point, rectangle, TO_VIEWER, UP } from "./part.ts";

/** Pixels of a picture's side. */
export const SIDE = 128;

export const GROUNDS = ["grass", "snow", "sand"] as const;
export type Ground = (typeof GROUNDS)[number];

const SKY: Readonly<Record<Hour, { top: Rgb; bottom: Rgb }>> = {
  day: { top: [86, 164, 236], bottom: [196, 228, 250] },
  sunset: { top: [112, 84, 164], bottom: [255, 170, 92] },
  night: { top: [12, 18, 52], bottom: [44, 56, 112] },
};
const GROUND: Readonly<Record<Ground, { top: Rgb; bottom: Rgb }>> = {
  grass: { top: [142, 198, 92], bottom: [78, 148, 60] },
  snow: { top: [248, 250, 254], bottom: [216, 226, 242] },
  sand: { top: [246, 222, 160], bottom: [224, 184, 112] },
};
const CLOUD: Readonly<Record<Hour, Rgb>> = { day: [252, 253, 255], sunset: [250, 190, 176], night: [70, 80, 128] };
const WATER: { top: Rgb; bottom: Rgb } = { top: [96, 184, 222], bottom: [36, 112, 186] };
const ROCK: Rgb = [124, 132, 160];
const SNOW_CAP: Rgb = [244, 246, 252];
const SUN: Readonly<Record<"day" | "sunset", Rgb>> = { day: [255, 222, 74], sunset: [255, 112, 60] };
const MOON: Rgb = [246, 240, 206];
const STAR: Rgb = [236, 236, 250];

export interface Landscape {
  readonly parts: readonly Part[];
  /** The sun or the moon, somewhere among the parts. */
  readonly light: Part | null;
  /** y of the ground's beginning. */
  readonly horizon: number;
  /** What captions say of it, without hour and ground. */
  readonly said: readonly string[];
}

/** How near the ground is at a height of the picture: the horizon is far and not the sky. */
export const nearness = (y: number, horizon: number) => 0.2 + (0.8 * (y - horizon)) / (SIDE - horizon);

/** Points along a line that rises and falls gently, from the left edge to the right. */
function swell(dice: Dice, y: number, height: number): Point[] {
  const [phase, waves] = [dice.between(0, 6), dice.between(0.6, 1.3)];
  return Array.from({ length: 33 }, (_, i) => [
    (SIDE / 32) * i,
    y + height * Math.sin(phase + (2 * Math.PI * waves * i) / 32),
  ]);
}

const downToEdge = (line: readonly Point[]): Outline => [...line, [SIDE, SIDE], [0, SIDE]];

function heavens(dice: Dice, hour: Hour, horizon: number): { parts: Part[]; said: string[] } {
  const parts: Part[] = [];
  const said: string[] = [];
  const far = { near: 0, facing: TO_VIEWER } as const;
  if (hour === "night") {
    for (let i = dice.whole(5, 9); i > 0; i--) {
      const outline = ellipse(dice.between(3, SIDE - 3), dice.between(3, horizon - 24), dice.between(0.8, 1.3));
      parts.push({ outline, fill: STAR, class: "sky", detail: true, ...far });
    }
    if (dice.chance(0.75)) {
      const [x, y, r] = [dice.between(14, SIDE - 14), dice.between(14, 26), dice.between(8, 11)];
      const outline = dice.chance(0.5) ? crescent(x, y, r) : ellipse(x, y, r);
      parts.push({ outline, fill: MOON, class: "light", ...far });
      said.push("the moon");
    }
  } else if (dice.chance(0.75)) {
    const low = hour === "sunset";
    const y = low ? horizon - dice.between(2, 20) : dice.between(14, 26);
    const outline = ellipse(dice.between(14, SIDE - 14), y, low ? dice.between(12, 16) : dice.between(8, 11));
    parts.push({ outline, fill: SUN[hour], class: "light", ...far });
    said.push("the sun");
  }
  if (dice.chance(0.3)) {
    for (let i = dice.whole(1, 2); i > 0; i--) {
      const [x, y, r] = [dice.between(10, SIDE - 10), dice.between(12, 40), dice.between(5, 8)];
      const puffs = [
        ellipse(x - 1.3 * r, y, r, 0.65 * r),
        ellipse(x + 1.3 * r, y, 1.1 * r, 0.65 * r),
        ellipse(x, y - 0.35 * r, 1.2 * r, r),
      ];
      parts.push(
        ...puffs.map(
          (outline): Part => ({ outline, fill: CLOUD[hour], class: "cloud", near: 0.05, facing: TO_VIEWER }),
        ),
      );
    }
    said.push("clouds");
  }
  return { parts, said };
}

/** Peaks, the snow on each one's top, and its shaded right flank. */
function mountains(dice: Dice, hour: Hour, horizon: number): Part[] {
  const count = dice.whole(2, 3);
  const places = Array.from({ length: count }, (_, i) => ((i + dice.between(0.25, 0.75)) * SIDE) / count);
  return dice.shuffled(places).flatMap((x): Part[] => {
    const height = dice.between(24, 42);
    const [left, right] = [x - height * dice.between(0.9, 1.2), x + height * dice.between(0.9, 1.2)];
    const top: Point = [x, horizon - height];
    const foot = horizon + 6;
    const down = (to: number, share: number): Point => [x + (to - x) * share, top[1] + (foot - top[1]) * share];
    const rock = lit(ROCK, hour);
    const far = { class: "mountain", near: [0.1, 0.16] } as const;
    return [
      { outline: [top, [right, foot], [left, foot]], fill: rock, facing: [-0.5, 0.5, 0.71], ...far },
      {
        outline: [top, [right, foot], [x + 0.2 * height, foot]],
        fill: shade(rock, 0.84),
        facing: [0.5, 0.5, 0.71],
        ...far,
      },
      {
        outline: [top, down(right, 0.3), [x + 0.02 * height, top[1] + 0.22 * height], down(left, 0.3)],
        fill: lit(SNOW_CAP, hour),
        facing: [0, 0.7, 0.71],
        ...far,
      },
    ];
  });
}

export function landscape(dice: Dice, hour: Hour, ground: Ground): Landscape {
  const horizon = dice.between(60, 74);
  const sky: Part = {
    outline: rectangle(0, 0, SIDE, horizon + 4),
    fill: SKY[hour],
    class: "sky",
    facing: TO_VIEWER,
    near: 0,
  };
  const { parts, said } = heavens(dice, hour, horizon);
  const hasMountains = dice.chance(0.35);
  const hasWater = dice.chance(0.3);
  const peaks = hasMountains ? mountains(dice, hour, horizon) : [];
  const tint = (rgb: Rgb) => lit(rgb, hour);
  const water: Part = {
    outline: rectangle(0, horizon, SIDE, horizon + 26),
    fill: { top: tint(WATER.top), bottom: tint(WATER.bottom) },
    class: "water",
    facing: UP,
    near: [nearness(horizon, horizon), nearness(horizon + 26, horizon)],
  };
  const shore = hasWater ? horizon + dice.between(13, 17) : horizon;
  const land: Part = {
    outline: downToEdge(swell(dice, shore, hasWater ? 2.5 : 3)),
    fill: { top: tint(GROUND[ground].top), bottom: tint(GROUND[ground].bottom) },
    class: "ground",
    facing: UP,
    near: [nearness(shore, horizon), 1],
  };
  return {
    light: parts.find((part) => part.class === "light") ?? null,
    parts: [sky, ...parts, ...peaks, ...(hasWater ? [water] : []), land],
    horizon: shore,
    said: [...(hasMountains ? ["mountains"] : []), ...(hasWater ? ["a lake"] : []), ...said],
  };
}
