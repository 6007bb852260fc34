/** Modules of the ControlNet extension: their sliders and other names, and the annotator that each is here. A module is a row. */
import type { MapKind } from "../../../schema/map-kinds.ts";

/** A parameter with the range and default that the extension gives it. */
export interface Slider {
  readonly param: string;
  readonly name: string;
  readonly min: number;
  readonly max: number;
  readonly value: number;
  readonly step: number;
}

export interface ModuleRow {
  /** What the extension shows it as, and what it has been called. */
  readonly others?: readonly string[];
  readonly annotator: string;
  /** What the module says by its name. */
  readonly params?: Readonly<Record<string, unknown>>;
  /** Whether `processor_res` is the size that it works at; else it works at the image's own. */
  readonly sized?: true;
  readonly a?: Slider;
  readonly b?: Slider;
  readonly feeds: readonly MapKind[];
}

const slider = (param: string, name: string, [min, value, max]: [number, number, number], step: number): Slider => ({
  param,
  name,
  min,
  max,
  value,
  step,
});

const GAMMA = slider("gamma_correction", "Gamma Correction", [0.1, 1, 2], 0.001);
const sized = true as const;

/** Under the names that `GET /controlnet/module_list` has; of `others`, the first is that of `?alias_names=true`. */
export const MODULES: Readonly<Record<string, ModuleRow>> = {
  none: { annotator: "none", feeds: [] },
  canny: {
    annotator: "canny",
    feeds: ["canny"],
    sized,
    a: slider("low_threshold", "Low Threshold", [0, 100, 256], 1),
    b: slider("high_threshold", "High Threshold", [0, 200, 256], 1),
  },
  depth: { others: ["depth_midas"], annotator: "depth", params: { resample: "bilinear" }, feeds: ["depth"], sized },
  depth_anything: { annotator: "depth", params: { resample: "bilinear" }, feeds: ["depth"] },
  depth_anything_v2: { annotator: "depth", params: { resample: "bilinear" }, feeds: ["depth"] },
  normal_map: {
    others: ["normal_midas"],
    annotator: "normal_midas",
    feeds: ["normal"],
    sized,
    a: slider("bg_threshold", "Normal Background Threshold", [0, 0.4, 1], 0.01),
  },
  normal_bae: { annotator: "normal_bae", feeds: ["normal"] },
  mlsd: {
    annotator: "mlsd",
    feeds: ["lines"],
    sized,
    a: slider("thr_v", "MLSD Value Threshold", [0.01, 0.1, 2], 0.01),
    b: slider("thr_d", "MLSD Distance Threshold", [0.01, 0.1, 20], 0.01),
  },
  hed: { others: ["softedge_hed"], annotator: "softedge_hed", feeds: ["soft_edge"], sized },
  hed_safe: {
    others: ["softedge_hedsafe"],
    annotator: "softedge_hed",
    params: { safe: true },
    feeds: ["soft_edge"],
    sized,
  },
  pidinet: { others: ["softedge_pidinet"], annotator: "softedge_pidinet", feeds: ["soft_edge"] },
  pidinet_safe: {
    others: ["softedge_pidisafe", "softedge_pidsafe"],
    annotator: "softedge_pidinet",
    params: { safe: true },
    feeds: ["soft_edge"],
  },
  pidinet_sketch: {
    others: ["t2ia_sketch_pidi"],
    annotator: "softedge_pidinet",
    params: { apply_filter: true },
    feeds: ["soft_edge"],
  },
  te_hed: {
    others: ["softedge_teed"],
    annotator: "softedge_teed",
    feeds: ["soft_edge"],
    sized,
    a: slider("safe_steps", "Safe Steps", [0, 2, 10], 1),
  },
  scribble_hed: { others: ["scribble_hed", "fake_scribble"], annotator: "scribble_hed", feeds: ["scribble"], sized },
  pidinet_scribble: { others: ["scribble_pidinet"], annotator: "scribble_pidinet", feeds: ["scribble"] },
  scribble_xdog: {
    annotator: "scribble_xdog",
    feeds: ["scribble"],
    sized,
    a: slider("threshold", "XDoG Threshold", [1, 32, 64], 0.01),
  },
  threshold: {
    annotator: "threshold",
    feeds: ["scribble"],
    sized,
    a: slider("threshold", "Binarization Threshold", [0, 127, 255], 0.01),
  },
  lineart: { others: ["lineart_realistic"], annotator: "lineart_realistic", feeds: ["line_art"] },
  lineart_coarse: { annotator: "lineart_coarse", feeds: ["line_art"] },
  lineart_anime: { annotator: "lineart_anime", feeds: ["line_art"] },
  lineart_standard: {
    others: ["lineart_standard (from white bg & black line)"],
    annotator: "lineart_standard",
    feeds: ["line_art"],
  },
  invert: {
    others: ["invert (from white bg & black line)"],
    annotator: "invert",
    feeds: ["canny", "line_art", "scribble", "lines"],
  },
  openpose: { annotator: "openpose", feeds: ["pose"], sized },
  openpose_full: { annotator: "openpose_full", feeds: ["pose"], sized },
  dw_openpose_full: { annotator: "openpose_full", feeds: ["pose"], sized },
  segmentation: { others: ["seg_ufade20k"], annotator: "segmentation", feeds: ["segmentation"], sized },
  oneformer_ade20k: { others: ["seg_ofade20k"], annotator: "segmentation", feeds: ["segmentation"] },
  color: { others: ["t2ia_color_grid"], annotator: "color_grid", params: { resolution: 512 }, feeds: ["color"] },
  shuffle: { annotator: "shuffle", feeds: ["shuffle"] },
  tile_resample: {
    annotator: "tile",
    feeds: ["tile"],
    a: slider("down_sampling_rate", "Down Sampling Rate", [1, 1, 8], 0.01),
  },
  blur_gaussian: {
    annotator: "blur",
    feeds: ["tile", "blur"],
    sized,
    a: slider("sigma", "Sigma", [0.01, 9, 64], 0.01),
  },
  recolor_luminance: { annotator: "recolor_luminance", feeds: ["grey"], a: GAMMA },
  recolor_intensity: { annotator: "recolor_intensity", feeds: ["grey"], a: GAMMA },
  inpaint: { others: ["inpaint_global_harmonious"], annotator: "inpaint", feeds: ["inpaint"] },
};

/** The extension's control types, and what ControlNets of each read. */
export const A1111_CONTROL_TYPES: Readonly<Record<string, MapKind>> = {
  Blur: "blur",
  Canny: "canny",
  Depth: "depth",
  Inpaint: "inpaint",
  Lineart: "line_art",
  MLSD: "lines",
  NormalMap: "normal",
  OpenPose: "pose",
  Recolor: "grey",
  Scribble: "scribble",
  Segmentation: "segmentation",
  Shuffle: "shuffle",
  SoftEdge: "soft_edge",
  "T2I-Adapter": "color",
  Tile: "tile",
};
