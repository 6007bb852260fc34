import { readFileSync } from "node:fs";
import { join } from "node:path";
import { depthMap } from "../src/annotators/depth.ts";
import { safeStep } from "../src/annotators/soft-edge.ts";
import { inpaint } from "../src/image/annotators/inpaint.ts";
import { normalFromDepth } from "../src/image/annotators/normal-from-depth.ts";
import { ridgesAbove, scribbleFromEdges } from "../src/image/annotators/scribble-from-edges.ts";
import { annotate } from "../src/image/annotators.ts";
import { decodeOverWhite } from "../src/image/decode.ts";
import { greyLevels, greyPicture } from "../src/image/grey-level.ts";
import { fitMap } from "../src/image/map-fit.ts";
import { resizeWithPad } from "../src/image/map-size.ts";
import { resizeNearest } from "../src/image/nearest.ts";
import { resizeArea, resizeCubic, resizeImage, resizeLanczos4, resizeLinear } from "../src/image/opencv-resize.ts";
import type { Pixels } from "../src/image/pixels.ts";
import { thin } from "../src/image/thin.ts";
import { ANNOTATORS } from "../src/schema/annotators.ts";
import type { Finding } from "./finding.ts";
import { readTensors } from "./tensors.ts";

interface Case {
  annotator: string;
  picture: string;
  mask?: string;
  params: Record<string, number | string | boolean | string[]>;
  function: string;
  map?: string;
  tensor?: string;
  /** `levels` (0) of difference are allowed everywhere, on `share` (1) of the values; absent = none at all */
  tolerance?: { levels?: number; share?: number };
}

type Resize = (pixels: Pixels, width: number, height: number) => Pixels;
const INTERPOLATIONS: Record<string, Resize> = {
  nearest: resizeNearest,
  linear: resizeLinear,
  cubic: resizeCubic,
  area: resizeArea,
  lanczos4: resizeLanczos4,
};

interface StepParams {
  readonly width: number;
  readonly height: number;
  readonly resolution: number;
  readonly interpolation: string;
  readonly prunings: boolean;
  readonly threshold: number;
  readonly sigma: number;
  readonly steps: number;
}

/** Steps that annotators are made of, which have reference maps of their own. */
const STEPS: Record<string, (pixels: Pixels, params: StepParams) => Pixels> = {
  hwc3: (pixels) => pixels,
  gray: (pixels) => greyPicture(pixels.width, pixels.height, greyLevels(pixels)),
  resize: (pixels, { interpolation, width, height }) => INTERPOLATIONS[interpolation]!(pixels, width, height),
  resize_image: (pixels, { resolution }) => resizeImage(pixels, resolution),
  resize_image_with_pad: (pixels, { resolution }) => resizeWithPad(pixels, resolution).padded,
  map_resize: (pixels, { width, height }) => fitMap(pixels, width, height),
  nms(pixels, { threshold, sigma }) {
    const { width, height } = pixels;
    return greyPicture(width, height, ridgesAbove(greyLevels(pixels), width, height, threshold, sigma));
  },
  scribble_tail: scribbleFromEdges,
  safe_step(pixels, { steps }) {
    const levels = greyLevels(pixels).map((level) => Math.min(safeStep(level / 255, steps) * 255, 255));
    return greyPicture(pixels.width, pixels.height, levels);
  },
  thin(pixels, { prunings }) {
    const map = greyLevels(pixels);
    thin(map, pixels.width, pixels.height, prunings);
    return greyPicture(pixels.width, pixels.height, map);
  },
};

/** An annotator of the public table, at the size that the reference was made at. */
function annotated({ annotator, params }: Case, pixels: Pixels): Pixels {
  const { resolution = null, noise: _, ...own } = params;
  const name = annotator as "canny";
  const sized = typeof resolution === "number" || annotator === "color_grid" ? { resolution } : {};
  return annotate(name, pixels, ANNOTATORS[name].params.parse({ ...own, ...sized }));
}

/** How many values are farther off than the tolerance's levels, as a share of all; 1 where sizes differ. */
function offShare(got: ArrayLike<number>, wanted: ArrayLike<number>, levels: number): number {
  if (got.length !== wanted.length) return 1;
  let off = 0;
  for (let i = 0; i < wanted.length; i++) if (Math.abs(got[i]! - wanted[i]!) > levels) off++;
  return off / wanted.length;
}

/**
 * Every map of `<dir>/cases.json` whose annotator is here: one finding for all of an annotator that are as near as they must be,
 * one for each that is not. The error is the share of values that are off by more than allowed.
 */
export async function check(dir: string): Promise<Finding[]> {
  const { cases }: { cases: Case[] } = JSON.parse(readFileSync(join(dir, "cases.json"), "utf8"));
  const tensors = readTensors(join(dir, "tensors.safetensors"));
  const decoded = new Map<string, Pixels>();
  const picture = async (file: string) => {
    const known = decoded.get(file);
    if (known) return known;
    const pixels = await decodeOverWhite(readFileSync(join(dir, file)), { maxPixels: 50_000_000 });
    if (file.startsWith("pictures/")) decoded.set(file, pixels);
    return pixels;
  };

  async function error(reference: Case, levels: number): Promise<number> {
    if (reference.tensor !== undefined) {
      const mask = await picture(`pictures/${reference.mask}.png`);
      const made = inpaint(await picture(`pictures/${reference.picture}.png`), mask);
      return offShare(made, tensors.get(reference.tensor)!.data as Float32Array, levels);
    }
    const wanted = await picture(reference.map!);
    const depth = tensors.get(reference.picture);
    if (depth !== undefined) {
      const [height, width] = depth.dims as [number, number];
      const plane = { width, height, data: depth.data as Float32Array };
      if (reference.annotator === "depth_midas_tail") return offShare(depthMap(plane).data, wanted.data, levels);
      const { bg_threshold, a } = reference.params as { bg_threshold: number; a: number };
      return offShare(normalFromDepth(plane, bg_threshold, a).data, wanted.data, levels);
    }
    const pixels = await picture(`pictures/${reference.picture}.png`);
    const step = STEPS[reference.annotator];
    const got = step ? step(pixels, reference.params as unknown as StepParams) : annotated(reference, pixels);
    return got.width === wanted.width ? offShare(got.data, wanted.data, levels) : 1;
  }

  const groups = new Map<string, { count: number; worst: number; bound: number }>();
  const short: Finding[] = [];
  for (const reference of cases) {
    const { annotator, tolerance = {} } = reference;
    if (!isHere(annotator)) continue;
    const { levels = 0, share = 1 } = tolerance;
    const [off, bound] = [await error(reference, levels), 1 - share];
    const name = `annotator ${annotator}${levels > 0 ? ` within ${levels}` : ""}`;
    if (off > bound) {
      short.push({ subject: `${name} ${reference.map ?? reference.tensor}`, error: off, bound });
      continue;
    }
    const group = groups.get(name) ?? { count: 0, worst: 0, bound };
    groups.set(name, { ...group, count: group.count + 1, worst: Math.max(group.worst, off) });
  }
  const within = [...groups].map(([name, { count, worst, bound }]) => ({
    subject: `${name}, ${count} maps`,
    error: worst,
    bound,
  }));
  return [...within, ...short];
}

// Line segments by LSD and the depth of ZoeDepth and LeReS, which the service does not offer, are left out.
const isHere = (name: string) => name in ANNOTATORS || name in STEPS || name === "depth_midas_tail";
