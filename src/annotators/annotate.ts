import type { Run } from "../diffusion/model.ts";
import { normalFromDepth } from "../image/annotators/normal-from-depth.ts";
import { scribbleFromEdges } from "../image/annotators/scribble-from-edges.ts";
import { drawLine } from "../image/drawing/line.ts";
import type { Pixels } from "../image/pixels.ts";
import { drawPose } from "../image/pose/draw.ts";
import type { NetworkAnnotatorName } from "../schema/network-annotators.ts";
import { type DepthResample, depthMap, inverseDepth } from "./depth.ts";
import { wholeBodies } from "./dwpose.ts";
import type { AnnotatorFolder } from "./folder.ts";
import { bodyPerson, type FoundPerson } from "./key-points.ts";
import { animeLineArtMap, lineArtMap } from "./line-art.ts";
import { type MlsdParameters, type Segment, segmentsOf } from "./mlsd.ts";
import type { Net } from "./network.ts";
import { metricNormalMap, normalMap } from "./normal.ts";
import type { ProcessorConfig } from "./processor.ts";
import { segmentationMap } from "./segmentation.ts";
import { hedMap, pidinetMap, teedMap } from "./soft-edge.ts";
import { bodyPoints } from "./vitpose.ts";

/** A folder whose networks can be run. */
export interface LoadedFolder extends Pick<AnnotatorFolder, "kind" | "isDistance" | "palette"> {
  readonly nets: Readonly<Record<string, Net>>;
  readonly processor: ProcessorConfig | null;
}

/** Makes a folder's networks runnable. */
export function loadFolder(folder: AnnotatorFolder, runner: (part: string) => Run): LoadedFolder {
  const nets = Object.entries(folder.networks).map(([part, net]) => [part, { ...net, run: runner(part) }]);
  return { ...folder, nets: Object.fromEntries(nets) };
}

/** A folder's only network with its processor, which folder.ts has opened where the kind has one. */
const model = ({ nets, processor, isDistance, palette }: LoadedFolder) => ({
  ...nets.model!,
  processor: processor!,
  isDistance,
  palette,
});

/** A map, the people in it where it shows people, and what the user should know. */
export interface Annotated {
  readonly map: Pixels;
  readonly people?: readonly FoundPerson[];
  readonly warnings: readonly string[];
}

const plain = (map: Pixels): Annotated => ({ map, warnings: [] });

type Edges = { safe: boolean; scribble: boolean };
type Filtered = Edges & { apply_filter: boolean };
const edges = (map: Pixels, { scribble }: Edges) => (scribble ? scribbleFromEdges(map) : map);

/** Maps by annotator, at the picture's own size. `params` are those of its schema, with every default filled in. */
export const networkMaps = {
  depth: async (pixels, folder, { resample }: { resample: DepthResample }) =>
    plain(depthMap(await inverseDepth(pixels, model(folder), resample))),
  normal_midas: async (pixels, folder, params: { bg_threshold: number; a: number }) =>
    plain(normalFromDepth(await inverseDepth(pixels, model(folder)), params.bg_threshold, params.a)),
  normal_bae: async (pixels, folder) => plain(await normalMap(pixels, model(folder))),
  normal_metric3d: async (pixels, folder) => plain(await metricNormalMap(pixels, model(folder))),
  segmentation: async (pixels, folder) => plain(await segmentationMap(pixels, model(folder))),
  softedge_hed: async (pixels, folder, params: Edges) =>
    plain(edges(await hedMap(pixels, model(folder), params), params)),
  softedge_teed: async (pixels, folder, params: { safe_steps: number }) =>
    plain(await teedMap(pixels, model(folder), params)),
  softedge_pidinet: async (pixels, folder, params: Filtered) =>
    plain(edges(await pidinetMap(pixels, model(folder), params), params)),
  scribble_hed: async (pixels, folder) =>
    plain(scribbleFromEdges(await hedMap(pixels, model(folder), { safe: false }))),
  scribble_pidinet: async (pixels, folder) =>
    plain(scribbleFromEdges(await pidinetMap(pixels, model(folder), { safe: false, apply_filter: false }))),
  lineart_realistic: async (pixels, folder) => plain(await lineArtMap(pixels, model(folder))),
  lineart_coarse: async (pixels, folder) => plain(await lineArtMap(pixels, model(folder))),
  lineart_anime: async (pixels, folder) => plain(await animeLineArtMap(pixels, model(folder))),
  mlsd: async (pixels, folder, params: MlsdParameters) => linesMap(pixels, await lines(pixels, folder, params)),
  openpose: async (pixels, folder) => peopleMap(pixels, (await people(pixels, folder)).map(bodyAlone)),
  openpose_full: async (pixels, folder) => peopleMap(pixels, await people(pixels, folder)),
} satisfies Record<NetworkAnnotatorName, (pixels: Pixels, folder: LoadedFolder, params: never) => Promise<Annotated>>;

export const lines = (pixels: Pixels, folder: LoadedFolder, params: MlsdParameters) =>
  segmentsOf(pixels, model(folder), params);

const WHITE = [255, 255, 255] as const;

function linesMap({ width, height }: Pixels, found: readonly Segment[]): Annotated {
  const map = { width, height, data: new Uint8Array(3 * width * height) };
  for (const ends of found) drawLine(map, ...(ends.map(Math.trunc) as [number, number, number, number]), WHITE);
  return { map, warnings: found.length === 0 ? ["no straight line was found: the map is black"] : [] };
}

function peopleMap({ width, height }: Pixels, found: readonly FoundPerson[]): Annotated {
  const warnings = found.length === 0 ? ["nobody was found: the map is black"] : [];
  return { map: drawPose({ width, height, people: found }), people: found, warnings };
}

const bodyAlone = ({ body }: FoundPerson): FoundPerson => ({ body, leftHand: null, rightHand: null, face: null });

const isSeen = ({ body }: FoundPerson) => body.some((point) => point !== null);

/** The people in a picture: DWPose finds each, ViTPose takes the whole picture for one. */
export async function people(pixels: Pixels, folder: LoadedFolder): Promise<FoundPerson[]> {
  const { detector, pose } = folder.nets;
  return folder.kind === "dwpose"
    ? wholeBodies(pixels, { detector: detector!, pose: pose! })
    : [bodyPerson(await bodyPoints(pixels, [0, 0, pixels.width, pixels.height], model(folder)))].filter(isSeen);
}
