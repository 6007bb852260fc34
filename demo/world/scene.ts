/** A picture of a small world, by its number: what stands where, and how one would say it. Where a reader starts. */
import { CAR_WIDTH, car } from "./car.ts";
import { HOURS, type Hour } from "./colours.ts";
import { Dice } from "./dice.ts";
import { HOUSE_WIDTH, house } from "./house.ts";
import { GROUNDS, type Ground, landscape, nearness, SIDE } from "./landscape.ts";
import { type Part, visibleShare } from "./part.ts";
import { PERSON_WIDTH, person } from "./person.ts";
import type { Skeleton } from "./skeleton.ts";
import { enlarged, type Place, type Thing } from "./thing.ts";
import { pine, roundTree, TREE_WIDTH } from "./tree.ts";

export interface Scene {
  readonly seed: number;
  /** "a red house with a blue roof, two pines, on snow, at night". */
  readonly caption: string;
  readonly hour: Hour;
  readonly ground: Ground;
  /** From the back to the front. */
  readonly parts: readonly Part[];
  readonly skeletons: readonly Skeleton[];
}

interface Kind {
  readonly width: number;
  readonly make: (dice: Dice, place: Place) => Thing;
}

const KINDS = {
  house: { width: HOUSE_WIDTH, make: house },
  pine: { width: TREE_WIDTH, make: pine },
  roundTree: { width: TREE_WIDTH, make: roundTree },
  car: { width: CAR_WIDTH, make: car },
  person: { width: PERSON_WIDTH, make: person },
} satisfies Record<string, Kind>;

/** Things side by side with chance gaps, as many of `wanted` as fit: their middles. */
function sideBySide(dice: Dice, wanted: readonly Kind[]): { kind: Kind; x: number }[] {
  const kept: Kind[] = [];
  let room = SIDE - 8;
  for (const kind of wanted) {
    if (kind.width <= room) {
      kept.push(kind);
      room -= kind.width;
    }
  }
  const gaps = kept.map(() => dice.share());
  const scale = room / (gaps.reduce((sum, gap) => sum + gap, 0) + dice.share());
  let left = 4;
  return dice.shuffled(kept).map((kind, i) => {
    const x = left + gaps[i]! * scale + kind.width / 2;
    left = x + kind.width / 2;
    return { kind, x };
  });
}

const HOUR_WORDS: Readonly<Record<Hour, string>> = { day: "by day", sunset: "at sunset", night: "at night" };
const LIGHTS = ["the sun", "the moon"];
const NUMBERS = ["", "", "two", "three", "four"];

/** What is said of things: those of the same words together, with their number. */
function count(things: readonly Thing[]): string[] {
  const same = new Map<string, Thing[]>();
  for (const thing of things) {
    same.set(thing.said, [...(same.get(thing.said) ?? []), thing]);
  }
  return [...same.values()].map((group) =>
    group.length > 1 && group[0]!.plural !== ""
      ? `${NUMBERS[group.length]} ${group[0]!.plural}`
      : group.map(({ said }) => said).join(", "),
  );
}

/** What is less visible than this is left out. */
const HIDDEN = 0.5;

/** How much of a thing one sees behind others: of the part whose colour is said that is most covered, or of all its parts. */
function visible({ parts }: Thing, before: readonly Part[]): number {
  const said = parts.filter((part) => part.said !== undefined);
  return Math.min(...(said.length > 0 ? said : parts).map((part) => visibleShare(part, before, SIDE)));
}

/** Those of the things, from the back to the front, that one sees. */
function unhidden(things: readonly Thing[]): Thing[] {
  const kept: Thing[] = [];
  for (const thing of [...things].reverse()) {
    if (
      visible(
        thing,
        kept.flatMap(({ parts }) => parts),
      ) > HIDDEN
    ) {
      kept.unshift(thing);
    }
  }
  return kept;
}

/** Two rows of things: houses and trees, and nearer a person or a car. */
function fromAfar(dice: Dice, horizon: number, hour: Hour): Thing[] {
  // Few enough that most are seen whole: a crowd is more than a small network learns to draw.
  const far: Kind[] = dice.chance(0.5) ? [KINDS.house] : [];
  for (let trees = dice.pick([0, 0, 0, 1, 1, 2]); trees > 0; trees--) {
    far.push(dice.chance(0.5) ? KINDS.pine : KINDS.roundTree);
  }
  const nearest = dice.share();
  const close: Kind[] = nearest < 0.4 ? [KINDS.person] : nearest < 0.75 ? [KINDS.car] : [];
  if (far.length + close.length === 0) {
    far.push(KINDS.house);
  }
  const rows: readonly [readonly Kind[], number, number][] = [
    [far, horizon + 7, horizon + 17],
    [close, 106, 123],
  ];
  const placed = rows.flatMap(([kinds, top, bottom]) =>
    sideBySide(dice, kinds)
      .map(({ kind, x }) => ({ kind, x, y: dice.between(top, bottom) }))
      .sort((a, b) => a.y - b.y)
      .map(({ kind, x, y }) => kind.make(dice, { x, y, near: nearness(y, horizon), hour })),
  );
  return unhidden(placed);
}

/** One thing that fills half of the picture: where things are large and in one place, what words mean is learned soonest. */
function fromNear(dice: Dice, horizon: number, hour: Hour): Thing {
  const kind = dice.pick([
    KINDS.house,
    KINDS.house,
    KINDS.person,
    KINDS.person,
    KINDS.car,
    KINDS.pine,
    KINDS.roundTree,
  ]);
  const y = dice.between(112, 122);
  const place = { x: dice.between(56, 72), y, near: nearness(y, horizon), hour };
  return enlarged(kind.make(dice, place), place, dice.between(1.6, 1.9));
}

/** The share of scenes that are seen from near. */
const CLOSE_UPS = 0.4;

export function scene(seed: number): Scene {
  const dice = new Dice(seed);
  const [hour, ground] = [dice.pick(HOURS), dice.pick(GROUNDS)];
  const land = landscape(dice, hour, ground);

  const near = dice.chance(CLOSE_UPS);
  const things = near ? [fromNear(dice, land.horizon, hour)] : fromAfar(dice, land.horizon, hour);
  const standing = things.flatMap(({ parts }) => parts);
  const { light } = land;
  const after = light === null ? [] : [...land.parts.slice(land.parts.indexOf(light) + 1), ...standing];
  const isDark = light !== null && visibleShare(light, after, SIDE) < HIDDEN;
  const words = [
    ...dice.shuffled(count(things)),
    ...(near ? ["from near"] : []),
    ...land.said.filter((word) => !(isDark && LIGHTS.includes(word))),
    `on ${ground}`,
    HOUR_WORDS[hour],
  ];
  return {
    seed,
    hour,
    ground,
    caption: words.join(", "),
    parts: [...land.parts.filter((part) => !(isDark && part === light)), ...standing],
    skeletons: things.flatMap(({ skeleton }) => skeleton ?? []),
  };
}
