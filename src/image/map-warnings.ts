import type { MapKind } from "../schema/map-kinds.ts";
import { countColours } from "./map-fit.ts";
import type { Pixels } from "./pixels.ts";

/** What a map looks like, as shares of its pixels. */
export interface Look {
  /** light grey to white */
  readonly light: number;
  /** neither nearly black nor nearly white */
  readonly between: number;
  /** red, green and blue apart */
  readonly coloured: number;
  /** colours in all, counted up to {@link MANY_COLOURS} */
  readonly colours: number;
}

const [ALMOST_BLACK, ALMOST_WHITE, HALF, APART] = [16, 239, 127, 16];
/** More than any palette of classes has, and what blends at the borders of regions make. */
const MANY_COLOURS = 4096;
/** So much of a map may be otherwise than expected. */
const FEW = 0.02;

const finding = (wrong: (look: Look) => boolean, says: string) => ({ wrong, says });
const negative = finding(
  ({ light }) => light > 0.5,
  "is more light than dark, but white lines on black are expected: the annotator `invert` makes them so",
);
const grey = finding(({ coloured }) => coloured > FEW, "has colors where only gray is expected");
const blurred = finding(({ between }) => between > 0.1, "has gray where only black and white are expected");
const uncoloured = finding(({ coloured }) => coloured < FEW, "is gray where colors are expected");
const edges = finding(
  ({ between, colours }) => between < FEW && colours > 1,
  "is black and white where shades of gray are expected",
);
const photo = finding(({ colours }) => colours >= MANY_COLOURS, "has too many colors for a map of regions");

/** What maps of a kind must not look like. Kinds that may look like anything have none. */
const WRONG = {
  canny: [negative, grey, blurred],
  lines: [negative, grey, blurred],
  scribble: [negative, grey, blurred],
  soft_edge: [negative, grey],
  line_art: [negative, grey],
  depth: [grey, edges],
  grey: [grey],
  normal: [uncoloured],
  segmentation: [uncoloured, photo],
  pose: [uncoloured, finding(({ light }) => light > 0.5, "is light where skeletons on black are expected")],
  tile: [],
  blur: [],
  color: [],
  shuffle: [],
  inpaint: [],
} satisfies Record<MapKind, readonly ReturnType<typeof finding>[]>;

/** Why a map looks wrong for a ControlNet of a kind, in words for the client that follow "the map"; of one colour, only that. */
export function mapWarnings(found: Look, kind: MapKind): string[] {
  if (found.colours === 1 && WRONG[kind].length > 0) return ["is all of one color: there is nothing to go by"];
  return WRONG[kind].filter(({ wrong }) => wrong(found)).map(({ says }) => says);
}

/** A map of more pixels is not looked at: it would take its time. */
const MOST_LOOKED_AT = 2 ** 24;

/** What a map looks like, whatever it is for; null = it is too large to be looked at. */
export function lookAt(map: Pixels): Look | null {
  const { data } = map;
  if (data.length > 3 * MOST_LOOKED_AT) return null;
  let light = 0;
  let between = 0;
  let coloured = 0;
  for (let i = 0; i < data.length; i += 3) {
    const red = data[i]!; // no arrays are taken apart here: of 16 million pixels that takes half a second
    const green = data[i + 1]!;
    const blue = data[i + 2]!;
    const least = Math.min(red, green, blue);
    const most = Math.max(red, green, blue);
    if (most > HALF) light++;
    if (most >= ALMOST_BLACK && least <= ALMOST_WHITE) between++;
    if (most - least > APART) coloured++;
  }
  const pixels = data.length / 3;
  const colours = countColours(map, MANY_COLOURS);
  return { light: light / pixels, between: between / pixels, coloured: coloured / pixels, colours };
}
