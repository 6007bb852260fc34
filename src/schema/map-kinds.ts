/** What ControlNets were trained to read. */

export const MAP_KINDS = [
  "canny",
  "lines",
  "soft_edge",
  "line_art",
  "scribble",
  "depth",
  "normal",
  "segmentation",
  "pose",
  "tile",
  "blur",
  "color",
  "grey",
  "shuffle",
  "inpaint",
] as const;
export type MapKind = (typeof MAP_KINDS)[number];

/** How published ControlNets are called that read each kind; of several that fit, the first. */
const NAMES: readonly (readonly [RegExp, MapKind])[] = [
  [/canny/, "canny"],
  [/mlsd|hough|straight/, "lines"],
  [/soft_?edge|hed|pidi|teed/, "soft_edge"],
  [/line_?art/, "line_art"],
  [/scribble|sketch/, "scribble"],
  [/depth/, "depth"],
  [/normal/, "normal"],
  [/seg/, "segmentation"],
  [/pose/, "pose"],
  [/tile/, "tile"],
  [/blur/, "blur"],
  [/t2ia_?color|color_?grid/, "color"],
  [/recolou?r|gr[ae]y/, "grey"],
  [/shuffle/, "shuffle"],
  [/inpaint/, "inpaint"],
];

/** What a ControlNet reads, by its id; null when that does not say. */
export function mapKindOf(controlnet: string): MapKind | null {
  const name = controlnet.toLowerCase().replaceAll("-", "_");
  return NAMES.find(([pattern]) => pattern.test(name))?.[1] ?? null;
}
