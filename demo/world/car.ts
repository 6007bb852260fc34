import { COLOURS, type Colour, lit, type Rgb, shade } from "./colours.ts";
import type { Dice } from "./dice.ts";
import { ellipse, type Outline, type Part, type Point, TO_VIEWER } from "./part.ts";
import { one, type Place, type Thing } from "./thing.ts";

const PAINTS = [
  "red",
  "orange",
  "yellow",
  "green",
  "blue",
  "purple",
  "white",
  "black",
] as const satisfies readonly Colour[];
const GLASS: Rgb = [176, 220, 242];
const TYRE: Rgb = [34, 34, 40];
const HUB: Rgb = [190, 194, 202];
const LAMP: Rgb = [255, 236, 150];

/** About how wide a car is, in pixels. */
export const CAR_WIDTH = 44;

/** Drawn driving to the right, half of them mirrored. */
export function car(dice: Dice, { x, y, near, hour }: Place): Thing {
  const paint = dice.pick(PAINTS);
  const body = lit(COLOURS[paint], hour);
  const [length, height] = [dice.between(40, 46), dice.between(18, 21)];
  const ahead = dice.chance(0.5) ? 1 : -1;
  const at = (along: number, up: number): Point => [x + ahead * (along - 0.5) * length, y - 3 - up * height];
  const outline = (...points: readonly (readonly [number, number])[]): Outline => points.map(([a, u]) => at(a, u));
  const r = height * 0.24;
  const part = (outline: Outline, fill: Rgb, rest: Partial<Part> = {}): Part => ({
    outline,
    fill,
    class: "car",
    facing: TO_VIEWER,
    near,
    ...rest,
  });
  const wheel = (along: number): Part[] => {
    const [cx] = at(along, 0);
    return [
      part(ellipse(cx, y - r, r), lit(TYRE, hour)),
      part(ellipse(cx, y - r, r * 0.42), lit(HUB, hour), { detail: true }),
    ];
  };
  return {
    parts: [
      part(outline([0.16, 0.45], [0.28, 0.9], [0.62, 0.9], [0.78, 0.45]), shade(body, 0.9)),
      part(outline([0.22, 0.46], [0.31, 0.82], [0.44, 0.82], [0.44, 0.46]), lit(GLASS, hour)),
      part(outline([0.48, 0.46], [0.48, 0.82], [0.59, 0.82], [0.71, 0.46]), lit(GLASS, hour)),
      part(outline([0, 0.08], [0.01, 0.46], [0.8, 0.48], [0.97, 0.38], [1, 0.08]), body, { said: paint }),
      ...wheel(0.22),
      ...wheel(0.78),
      part(ellipse(...at(0.965, 0.28), 1.6, 2), hour === "night" ? LAMP : lit(LAMP, hour), { detail: true }),
    ],
    said: one(`${paint} car`),
    plural: "",
  };
}
