/** How well a picture follows a control map, and its prompt's colours. */
import type { Pixels } from "../src/image/pixels.ts";
import { readClasses } from "./reader.ts";
import { COLOURS, type Colour, lit, type Rgb } from "./world/colours.ts";
import { SIDE } from "./world/landscape.ts";
import { visibleParts } from "./world/maps.ts";
import { CLASSES, type Class } from "./world/part.ts";
import type { Scene } from "./world/scene.ts";

const AREA = SIDE * SIDE;

export const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
const isLine = (map: Pixels) => Uint8Array.from({ length: AREA }, (_, p) => Number(map.data[3 * p]! > 127));

/** Pixels that have one of `lines` at most `reach` to each side. */
function widened(lines: Uint8Array, reach: number): Uint8Array {
  const wide = new Uint8Array(AREA);
  lines.forEach((line, p) => {
    if (line === 1) {
      const [x, y] = [p % SIDE, Math.floor(p / SIDE)];
      for (let v = Math.max(0, y - reach); v <= Math.min(SIDE - 1, y + reach); v++) {
        wide.fill(1, v * SIDE + Math.max(0, x - reach), v * SIDE + Math.min(SIDE - 1, x + reach) + 1);
      }
    }
  });
  return wide;
}

function share(lines: Uint8Array, within: Uint8Array): number {
  let [all, found] = [0, 0];
  lines.forEach((line, p) => {
    all += line;
    found += line & within[p]!;
  });
  return all === 0 ? 0 : found / all;
}

/** The share of a map's lines near which the other has one. */
export const recall = (wanted: Pixels, found: Pixels, reach: number) =>
  share(isLine(wanted), widened(isLine(found), reach));

/** The harmonic mean of the shares of each map's lines near which the other has one: 1 = the same lines. */
export function f1(a: Pixels, b: Pixels, reach: number): number {
  const [one, other] = [recall(a, b, reach), recall(b, a, reach)];
  return one + other === 0 ? 0 : (2 * one * other) / (one + other);
}

const distance = (a: Rgb, b: Rgb) => Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
const pixel = ({ data }: Pixels, p: number): Rgb => [data[3 * p]!, data[3 * p + 1]!, data[3 * p + 2]!];

/** The colour of a part at a height of the picture. */
function colourAt({ fill, outline }: Scene["parts"][number], y: number): Rgb {
  if (!("top" in fill)) {
    return fill;
  }
  const ys = outline.map((point) => point[1]);
  const [top, bottom] = [Math.min(...ys), Math.max(...ys)];
  const at = Math.min(Math.max((y - top) / (bottom - top), 0), 1);
  const mixed = fill.top.map((value, i) => value + (fill.bottom[i]! - value) * at);
  return mixed as unknown as Rgb;
}

/** Which part of the scene each pixel of a picture looks like: the one whose colour, at that height, is nearest. */
export async function readParts(picture: Pixels, { parts }: Scene): Promise<Uint16Array> {
  const seen = [...new Set(await visibleParts(parts))].map((part) => ({
    part,
    colours: Array.from({ length: SIDE }, (_, y) => colourAt(parts[part]!, y + 0.5)),
  }));
  return Uint16Array.from({ length: AREA }, (_, p) => {
    const own = pixel(picture, p);
    const y = Math.floor(p / SIDE);
    let [best, least] = [0, Number.POSITIVE_INFINITY];
    for (const { part, colours } of seen) {
      const far = distance(own, colours[y]!);
      if (far < least) {
        [best, least] = [part, far];
      }
    }
    return best;
  });
}

/**
 * The share of a picture's variance of colour that lies between the scene's parts and not within them: 1 = each part has one colour,
 * whichever. What is left to measure the layout by when no words say the colours.
 */
export async function layoutShare(picture: Pixels, { parts }: Scene): Promise<number> {
  const shown = await visibleParts(parts);
  const groups = new Map<number, number[]>();
  shown.forEach((part, p) => {
    const group = groups.get(part) ?? [];
    groups.set(part, group);
    group.push(p);
  });
  let [between, all] = [0, 0];
  for (const c of [0, 1, 2]) {
    const values = (of: readonly number[]) => of.map((p) => picture.data[3 * p + c]!);
    const whole = values([...shown.keys()]);
    const middle = mean(whole);
    all += whole.reduce((sum, value) => sum + (value - middle) ** 2, 0);
    for (const group of groups.values()) {
      between += group.length * (mean(values(group)) - middle) ** 2;
    }
  }
  return all === 0 ? 0 : between / all;
}

/** Of each class, the pixels of a picture that are of it in the scene and in the picture, and in either. */
export type Overlap = ReadonlyMap<Class, { both: number; either: number }>;

/** What scenes show against what their pictures look like, picture by picture. */
export async function readOverlaps(pictures: readonly Pixels[], scenes: readonly Scene[]): Promise<Overlap[]> {
  const read = await readClasses(pictures);
  return Promise.all(
    scenes.map(async ({ parts }, i) => {
      const counts = new Map<Class, { both: number; either: number }>();
      const countOf = (kind: Class) => {
        const count = counts.get(kind) ?? { both: 0, either: 0 };
        counts.set(kind, count);
        return count;
      };
      (await visibleParts(parts)).forEach((part, p) => {
        const [want, find] = [parts[part]!.class, read[i]![p]!];
        countOf(want).either += 1;
        if (want === find) {
          countOf(want).both += 1;
        } else {
          countOf(find).either += 1;
        }
      });
      return counts;
    }),
  );
}

/**
 * Intersection over union of a class. As segmentation is usually measured, pixels are counted over all pictures, and only then divided.
 * @returns NaN if no picture and no scene has it
 */
export function iou(overlaps: readonly Overlap[], kind: Class): number {
  const sum = (of: "both" | "either") => overlaps.reduce((all, one) => all + (one.get(kind)?.[of] ?? 0), 0);
  return sum("both") / sum("either");
}

/** Over the classes that there are. */
export function meanIou(overlaps: readonly Overlap[]): number {
  return mean(CLASSES.map((kind) => iou(overlaps, kind)).filter((value) => !Number.isNaN(value)));
}

/** The mean distance of two maps' pixels, 0 … 255 a channel. */
export function meanDifference(a: Pixels, b: Pixels): number {
  let sum = 0;
  for (let i = 0; i < a.data.length; i++) {
    sum += Math.abs(a.data[i]! - b.data[i]!);
  }
  return sum / a.data.length;
}

/** Parts whose colour the caption says: which of them have it in the picture, at their place. */
export async function coloursAtPlace(picture: Pixels, scene: Scene): Promise<boolean[]> {
  const shown = await visibleParts(scene.parts);
  return scene.parts.flatMap(({ said }, i) => {
    if (said === undefined) {
      return [];
    }
    const own = [...shown.keys()].filter((p) => shown[p] === i).map((p) => pixel(picture, p));
    return [nearestName(middle(own), scene) === said];
  });
}

const middle = (colours: readonly Rgb[]): Rgb =>
  [0, 1, 2].map((c) => {
    const values = colours.map((colour) => colour[c]!).sort((a, b) => a - b);
    return values[Math.floor(values.length / 2)] ?? 0;
  }) as unknown as Rgb;

function nearestName(colour: Rgb, { hour }: Scene): Colour {
  const names = Object.keys(COLOURS) as Colour[];
  const far = (name: Colour) => distance(colour, lit(COLOURS[name], hour));
  return names.reduce((best, name) => (far(name) < far(best) ? name : best));
}

/** How near a pixel must come to a colour to have it, and how many must. */
const [NEAR, PIXELS] = [40, 40];

/** Colours that the caption says: which of them the picture has somewhere. */
export function coloursAnywhere(picture: Pixels, scene: Scene): boolean[] {
  return scene.parts.flatMap(({ said }) => {
    if (said === undefined) {
      return [];
    }
    const wanted = lit(COLOURS[said], scene.hour);
    const count = Array.from({ length: AREA }, (_, p) => p).filter((p) => distance(pixel(picture, p), wanted) < NEAR);
    return [count.length >= PIXELS];
  });
}
