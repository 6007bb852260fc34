import type { ANNOTATORS, AnnotatorInput, AnnotatorName, AnnotatorParams } from "../schema/annotators.ts";
import type { PoseJson } from "../schema/pose.ts";
import { canny } from "./annotators/canny.ts";
import { colorGrid } from "./annotators/color-grid.ts";
import { houghLinesMap } from "./annotators/hough-lines.ts";
import { inpaint } from "./annotators/inpaint.ts";
import { invert } from "./annotators/invert.ts";
import { lineartStandard } from "./annotators/lineart-standard.ts";
import { normalFromDepth } from "./annotators/normal-from-depth.ts";
import { recolorIntensity, recolorLuminance } from "./annotators/recolor.ts";
import { scribbleXdog } from "./annotators/scribble-xdog.ts";
import { shuffle } from "./annotators/shuffle.ts";
import { binaryMap, scribble, threshold } from "./annotators/threshold.ts";
import { tile } from "./annotators/tile.ts";
import { gaussianBlur } from "./gaussian-blur.ts";
import { greyLevels } from "./grey-level.ts";
import { asAsked, atDetection, resolutionsOf } from "./map-size.ts";
import { resizeCubic } from "./opencv-resize.ts";
import type { Pixels } from "./pixels.ts";
import { drawPose } from "./pose/draw.ts";
import { readPose } from "./pose/json.ts";

/** What an annotator of each kind of input is given, and what it makes of it: a picture, or a hint of [3, H, W]. */
interface Kinds {
  picture: { input: Pixels; map: Pixels };
  depth: { input: Pixels; map: Pixels };
  masked_picture: { input: { picture: Pixels; mask: Pixels }; map: Float32Array };
  pose: { input: PoseJson; map: Pixels };
}
type KindOf<N extends AnnotatorName> = Kinds[(typeof ANNOTATORS)[N]["input"] & AnnotatorInput];
export type AnnotatorInputOf<N extends AnnotatorName> = KindOf<N>["input"];

/**
 * How each annotator of the public table makes its map, at the size of its input. `out`: what the map may be written to, where the first
 * touch of new memory would take longer than the map.
 * @throws {AnnotationError} when the input cannot be annotated
 */
const makers = {
  canny: (pixels, { low_threshold, high_threshold }, out) => canny(pixels, low_threshold, high_threshold, out),
  hough_lines: (pixels, params) =>
    houghLinesMap(pixels, {
      lowThreshold: params.low_threshold,
      highThreshold: params.high_threshold,
      rho: params.rho,
      thetaDegrees: params.theta_degrees,
      threshold: params.threshold,
      minLineLength: params.min_line_length,
      maxLineGap: params.max_line_gap,
    }),
  lineart_standard: (pixels, { gaussian_sigma, intensity_threshold }) =>
    lineartStandard(pixels, gaussian_sigma, intensity_threshold),
  scribble,
  scribble_xdog: (pixels, params) => scribbleXdog(pixels, params.threshold),
  threshold: (pixels, params) => threshold(pixels, params.threshold),
  binary: (pixels, params, out) => binaryMap(pixels, params.threshold, out),
  invert: (pixels, _, out) => invert(pixels, out),
  normal_from_depth: (pixels, { bg_threshold, a }) =>
    normalFromDepth({ ...pixels, data: greyLevels(pixels) }, bg_threshold, a),
  tile: (pixels, { down_sampling_rate }) => tile(pixels, down_sampling_rate),
  blur: (pixels, { sigma }) => gaussianBlur(pixels, sigma),
  color_grid: (pixels, { resolution }) => colorGrid(pixels, resolution),
  recolor_luminance: (pixels, { gamma_correction }) => recolorLuminance(pixels, gamma_correction),
  recolor_intensity: (pixels, { gamma_correction }) => recolorIntensity(pixels, gamma_correction),
  shuffle: (pixels, { f, seed }) => shuffle(pixels, f, seed),
  none: (pixels) => pixels,
  inpaint: ({ picture, mask }) => inpaint(picture, mask),
  openpose_render: (json, { style, min_confidence }) => drawPose(readPose(json, min_confidence).pose, style),
} satisfies {
  [N in AnnotatorName]: (input: AnnotatorInputOf<N>, params: AnnotatorParams<N>, out?: Uint8Array) => KindOf<N>["map"];
};

/** How a map gets its size back, where that is not cv2's LINEAR (controlnet_aux `LineartStandardDetector`). */
const resizers: { readonly [N in AnnotatorName]?: typeof resizeCubic } = { lineart_standard: resizeCubic };

/**
 * The map that an annotator makes: with `detect_resolution` or `resolution` at that size, then at the one asked for.
 * @param own whether nobody else needs the picture, so that the map may be written over it
 * @throws {AnnotationError} when the input cannot be annotated
 */
export function annotate<N extends AnnotatorName>(
  name: N,
  input: AnnotatorInputOf<N>,
  params: AnnotatorParams<N>,
  own = false,
): KindOf<N>["map"] {
  type Maker = (input: AnnotatorInputOf<N>, params: AnnotatorParams<N>, out?: Uint8Array) => KindOf<N>["map"];
  const make = makers[name] as Maker;
  if (!("detect_resolution" in params)) return make(input, params);
  // Only annotators of pictures have the parameter, as the table says.
  const [pixels, resolutions] = [input as Pixels, resolutionsOf(params)];
  const shown = atDetection(pixels, resolutions);
  const map = make(shown as AnnotatorInputOf<N>, params, own ? shown.data : undefined) as Pixels;
  return asAsked(map, pixels, resolutions, resizers[name]);
}
