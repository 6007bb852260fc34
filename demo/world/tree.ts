import { type Hour, lit, type Rgb, shade } from "./colours.ts";
import type { Dice } from "./dice.ts";
import { ellipse, type Part, rectangle } from "./part.ts";
import type { Place, Thing } from "./thing.ts";

const BARK: Rgb = [112, 72, 46];
const NEEDLES: Rgb = [30, 104, 74];
const LEAVES: readonly Rgb[] = [
  [92, 170, 60],
  [64, 146, 58],
];

/** About how wide a tree is, in pixels. */
export const TREE_WIDTH = 26;

const trunk = (x: number, y: number, top: number, width: number, near: number, hour: Hour): Part => ({
  outline: rectangle(x - width / 2, top, x + width / 2, y),
  fill: lit(BARK, hour),
  class: "tree",
  facing: "pillar",
  near,
});

export function pine(dice: Dice, { x, y, near, hour }: Place): Thing {
  const [height, width] = [dice.between(36, 50), dice.between(22, 27)];
  const green = lit(NEEDLES, hour);
  const foot = y - height * 0.14;
  const layer = (i: number): Part => {
    const bottom = foot - i * height * 0.24;
    const half = (width / 2) * (1 - 0.22 * i);
    return {
      outline: [
        [x, bottom - height * 0.38],
        [x + half, bottom],
        [x - half, bottom],
      ],
      fill: shade(green, 1 + 0.12 * i),
      class: "tree",
      facing: "pillar",
      near,
    };
  };
  return {
    parts: [trunk(x, y, foot - 2, 5, near, hour), layer(0), layer(1), layer(2)],
    said: "a pine",
    plural: "pines",
  };
}

export function roundTree(dice: Dice, { x, y, near, hour }: Place): Thing {
  const [height, r] = [dice.between(34, 44), dice.between(11, 14)];
  const green = lit(dice.pick(LEAVES), hour);
  const crown = (dx: number, dy: number, size: number, fill: Rgb, detail?: true): Part => ({
    outline: ellipse(x + dx, y - height + r + dy, size),
    fill,
    class: "tree",
    facing: "ball",
    near,
    ...(detail && { detail }),
  });
  return {
    parts: [
      trunk(x, y, y - height + r, 5.5, near, hour),
      crown(0, 0, r, green),
      crown(-0.28 * r, -0.3 * r, 0.5 * r, shade(green, 1.16), true),
    ],
    said: "a round tree",
    plural: "round trees",
  };
}
