import { COLOURS, type Colour, lit, type Rgb, shade } from "./colours.ts";
import type { Dice } from "./dice.ts";
import { type Outline, type Part, type Point3, rectangle, TO_VIEWER } from "./part.ts";
import { one, type Place, type Thing } from "./thing.ts";

const WALLS = ["red", "orange", "yellow", "green", "blue", "pink", "white"] as const satisfies readonly Colour[];
const ROOFS = ["red", "green", "blue", "purple", "brown", "grey"] as const satisfies readonly Colour[];

const GLASS: Rgb = [150, 208, 240];
/** At night there is light in the windows. */
const LAMP: Rgb = [255, 220, 110];
const FRAME: Rgb = [250, 248, 240];

const TO_RIGHT: Point3 = [0.77, 0, 0.64];
const ROOF_FRONT: Point3 = [0, 0.64, 0.77];

/** About how wide a house is, in pixels. */
export const HOUSE_WIDTH = 50;

export function house(dice: Dice, { x, y, near, hour }: Place): Thing {
  const wall = dice.pick(WALLS);
  const roof = dice.pick(ROOFS.filter((colour) => colour !== wall));
  const colour = (rgb: Rgb) => lit(rgb, hour);
  const [walls, roofs] = [colour(COLOURS[wall]), colour(COLOURS[roof])];
  const glass = hour === "night" ? LAMP : colour(GLASS);
  const door = colour(shade(COLOURS[dice.pick(["brown", "red", "blue"] as const)], 0.7));
  const at = { near, facing: TO_VIEWER as Point3 };

  const window = (left: number, top: number, size: number): Part[] => [
    {
      outline: rectangle(left - 1.2, top - 1.2, left + size + 1.2, top + size + 1.2),
      fill: colour(FRAME),
      class: "opening",
      ...at,
    },
    { outline: rectangle(left, top, left + size, top + size), fill: glass, class: "opening", detail: true, ...at },
  ];
  const doorway = (left: number, width: number, height: number): Part => ({
    outline: rectangle(left, y - height, left + width, y),
    fill: door,
    class: "opening",
    ...at,
  });
  const piece = (
    outline: Outline,
    fill: Rgb,
    kind: "wall" | "roof",
    facing: Point3 = TO_VIEWER,
    said?: Colour,
  ): Part => ({
    outline,
    fill,
    class: kind,
    facing,
    near,
    ...(said !== undefined && { said }),
  });
  const chimney = (left: number, top: number): Part[] =>
    dice.chance(0.5)
      ? [piece(rectangle(left, top, left + 5, top + 12), colour(shade(COLOURS.brown, 0.9)), "wall")]
      : [];

  const fronts: (() => Part[])[] = [
    // The long side toward the viewer.
    () => {
      const [width, height, slope] = [dice.between(44, 52), dice.between(19, 24), dice.between(15, 20)];
      const [left, right, eaves] = [x - width / 2, x + width / 2, y - height];
      const size = 7.5;
      return [
        ...chimney(left + width * 0.68, eaves - slope - 3),
        piece(rectangle(left, eaves, right, y), walls, "wall", TO_VIEWER, wall),
        piece(
          [
            [left - 4, eaves],
            [left + 6, eaves - slope],
            [right - 6, eaves - slope],
            [right + 4, eaves],
          ],
          roofs,
          "roof",
          ROOF_FRONT,
          roof,
        ),
        doorway(x - 4, 8, 13),
        ...window(left + 5, eaves + 5, size),
        ...window(right - 5 - size, eaves + 5, size),
      ];
    },
    // The gable toward the viewer, the long side to the right.
    () => {
      const [front, side, height, slope] = [
        dice.between(22, 26),
        dice.between(22, 27),
        dice.between(20, 25),
        dice.between(13, 17),
      ];
      const [left, eaves] = [x - (front + side) / 2, y - height];
      const [corner, right] = [left + front, left + front + side];
      const ridge = (left + corner) / 2;
      const size = 7.5;
      return [
        piece(
          [
            [corner, eaves],
            [right, eaves],
            [right, y - 3],
            [corner, y],
          ],
          shade(walls, 0.82),
          "wall",
          TO_RIGHT,
        ),
        piece(
          [
            [left, y],
            [left, eaves],
            [ridge, eaves - slope],
            [corner, eaves],
            [corner, y],
          ],
          walls,
          "wall",
          TO_VIEWER,
          wall,
        ),
        ...chimney(ridge + side * 0.6, eaves - slope - 5),
        piece(
          [
            [ridge, eaves - slope - 2],
            [right - front / 2 + 3, eaves - slope - 2],
            [right + 3, eaves + 1],
            [corner + 2, eaves + 2],
            [corner - 1, eaves + 2.5],
            [ridge, eaves - slope + 3],
          ],
          roofs,
          "roof",
          [0.55, 0.64, 0.54],
          roof,
        ),
        piece(
          [
            [ridge, eaves - slope - 2],
            [ridge, eaves - slope + 3],
            [left - 1, eaves + 4.5],
            [left - 3, eaves + 1.5],
          ],
          shade(roofs, 0.85),
          "roof",
          [-0.6, 0.6, 0.53],
        ),
        doorway(ridge - 4, 8, 13),
        ...window(corner + side / 2 - size / 2, eaves + 6, size),
      ];
    },
  ];
  const said = `${wall} house with a ${roof} roof`;
  return { parts: dice.pick(fronts)(), said: one(said), plural: "" };
}
