import type { Run } from "../diffusion/model.ts";
import { resizeImage, resizeLinear } from "../image/opencv-resize.ts";
import type { Pixels } from "../image/pixels.ts";
import { type DepthResample, depthMap, inverseDepth } from "./depth.ts";
import { wholeBodies } from "./dwpose.ts";
import type { AnnotatorFolder } from "./folder.ts";
import { bodyPerson, type Person } from "./key-points.ts";
import { kinds } from "./kinds.ts";
import { animeLineArtMap, lineArtMap } from "./line-art.ts";
import { straightLines } from "./mlsd.ts";
import type { Net } from "./network.ts";
import { metricNormalMap, normalMap } from "./normal.ts";
import type { ProcessorConfig } from "./processor.ts";
import { segmentationMap } from "./segmentation.ts";
import { hedMap, pidinetMap, teedMap } from "./soft-edge.ts";
import { bodyPoints } from "./vitpose.ts";

/** A folder whose networks can be run. */
export interface LoadedFolder extends Pick<AnnotatorFolder, "kind" | "isDistance"> {
  readonly nets: Readonly<Record<string, Net>>;
  readonly processor: ProcessorConfig | null;
}

/** Makes a folder's networks runnable. */
export function loadFolder(folder: AnnotatorFolder, runner: (part: string) => Run): LoadedFolder {
  const nets = Object.entries(folder.networks).map(([part, net]) => [part, { ...net, run: runner(part) }]);
  return { ...folder, nets: Object.fromEntries(nets) };
}

/** A folder's only network with its processor, which folder.ts has opened where the kind has one. */
const model = ({ nets, processor, isDistance }: LoadedFolder) => ({
  ...nets.model!,
  processor: processor!,
  isDistance,
});

/** Maps by annotator, at the picture's own size. `params` are those of its schema, with every default filled in. */
export const networkMaps = {
  depth: async (pixels, folder, { resample }: { resample: DepthResample }) =>
    depthMap(await inverseDepth(pixels, model(folder), resample)),
  segmentation: (pixels, folder) => segmentationMap(pixels, model(folder)),
  normal_bae: (pixels, folder) => normalMap(pixels, model(folder)),
  normal_metric3d: (pixels, folder) => metricNormalMap(pixels, model(folder)),
  softedge_hed: (pixels, folder, params: { safe: boolean }) => hedMap(pixels, model(folder), params),
  softedge_teed: (pixels, folder, params: { safe_steps: number }) => teedMap(pixels, model(folder), params),
  softedge_pidinet: (pixels, folder, params: { safe: boolean; apply_filter: boolean }) =>
    pidinetMap(pixels, model(folder), params),
  lineart_realistic: (pixels, folder) => lineArtMap(pixels, model(folder)),
  lineart_coarse: (pixels, folder) => lineArtMap(pixels, model(folder)),
  lineart_anime: (pixels, folder) => animeLineArtMap(pixels, model(folder)),
} satisfies Record<string, (pixels: Pixels, folder: LoadedFolder, params: never) => Promise<Pixels>>;

/** Lines and people, which are drawn by their own functions. */
export const lines = (pixels: Pixels, folder: LoadedFolder, params: { thr_v: number; thr_d: number }) =>
  straightLines(pixels, model(folder), params);

/** The people in a picture: DWPose finds each, ViTPose takes the whole picture for one. */
export async function people(pixels: Pixels, folder: LoadedFolder): Promise<Person[]> {
  const { detector, pose } = folder.nets;
  return folder.kind === "dwpose"
    ? wholeBodies(pixels, { detector: detector!, pose: pose! })
    : [bodyPerson(await bodyPoints(pixels, [0, 0, pixels.width, pixels.height], model(folder)))];
}

/**
 * The size at which a picture is shown to a network: `resolution` of its shorter side (controlnet_aux `resize_image`), or its own, but
 * where the network wants multiples that it has not, those nearest to it. `back` makes the map as large as the picture again.
 */
export function atResolution(pixels: Pixels, { kind }: Pick<LoadedFolder, "kind">, resolution: number | null) {
  const { multiple } = kinds[kind];
  const isMultiple = pixels.width % multiple === 0 && pixels.height % multiple === 0;
  if (resolution === null && isMultiple) return { shown: pixels, back: (map: Pixels) => map };
  return {
    shown: resizeImage(pixels, resolution ?? Math.min(pixels.width, pixels.height)),
    back: (map: Pixels) => resizeLinear(map, pixels.width, pixels.height),
  };
}
