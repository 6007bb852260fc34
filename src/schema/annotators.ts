/** The annotators that need no network: what each takes, its parameters, and which kinds of ControlNet its maps feed. */
import { z } from "zod";
import { closed } from "./closed.ts";
import type { MapKind } from "./map-kinds.ts";

/** What a map is made of: a picture, depth as a picture (near = light), a picture and a mask, or key points. */
export type AnnotatorInput = "picture" | "depth" | "masked_picture" | "pose";

/** What the table of annotators says of one. */
export interface AnnotatorRow {
  readonly description: string;
  readonly input: AnnotatorInput;
  readonly feeds: readonly MapKind[];
  readonly params: z.ZodObject;
}

/** A parameter that is a number. */
export const number = (least: number, most: number, preset: number, says: string) =>
  z
    .number()
    .min(least)
    .max(most)
    .default(preset)
    .describe(says)
    .meta({ examples: [preset] });

const whole = (least: number, most: number, preset: number, says: string) =>
  z
    .int()
    .min(least)
    .max(most)
    .default(preset)
    .describe(says)
    .meta({ examples: [preset] });

const pixels = (says: string) =>
  z
    .int()
    .min(64)
    .max(2048)
    .nullable()
    .default(null)
    .describe(says)
    .meta({ examples: [512] });

/** The sizes that annotators of controlnet_aux and of the A1111 extension work at. */
const sizes = {
  detect_resolution: pixels(
    "About how many pixels the shorter side has when the map is made (both sides become multiples of 64); null = the image's own size.",
  ),
  image_resolution: pixels(
    "About how many pixels the shorter side of the map has (both sides become multiples of 64); null = the image's own size.",
  ),
  resolution: pixels(
    "Pixels of the map's shorter side, made as the A1111 extension makes it; goes with neither of the two above. null = the image's own size.",
  ),
};

/** The parameters of an annotator that can work at other sizes than the picture's, and these sizes. */
export const sized = <Shape extends z.ZodRawShape>(shape: Shape) =>
  closed({ ...shape, ...sizes }).check(({ value, issues }) => {
    const { resolution, ...others } = value as Record<string, unknown>;
    for (const other of ["detect_resolution", "image_resolution"])
      if ((resolution ?? null) !== null && (others[other] ?? null) !== null)
        issues.push({ code: "custom", input: value, path: ["resolution"], message: `cannot go with ${other}` });
  });

const edges = (low: number, high: number) => ({
  low_threshold: number(0, 2040, low, "A gradient above it goes an edge on."),
  high_threshold: number(0, 2040, high, "A gradient above it begins an edge."),
});

const gamma = { gamma_correction: number(0.1, 2, 1, "Above 1 darker, below 1 lighter.") };

export const ANNOTATORS = {
  canny: {
    description: "Edges, white on black.",
    input: "picture",
    feeds: ["canny"],
    params: sized({ ...edges(100, 200) }),
  },
  hough_lines: {
    description: "Straight lines, white on black, without a network.",
    input: "picture",
    feeds: ["lines"],
    params: sized({
      ...edges(50, 150),
      rho: number(0.5, 16, 1, "Pixels between two distances of lines."),
      theta_degrees: number(0.25, 45, 1, "Degrees between two directions of lines."),
      threshold: whole(1, 10_000, 50, "Edge pixels that a line needs."),
      min_line_length: number(0, 10_000, 30, "Pixels along x or y."),
      max_line_gap: number(0, 10_000, 5, "Pixels without an edge that a line goes on over."),
    }),
  },
  lineart_standard: {
    description: "What is darker than around it, white on black.",
    input: "picture",
    feeds: ["line_art"],
    params: sized({
      gaussian_sigma: number(0.01, 64, 6, "Pixels that the picture is blurred by for comparison."),
      intensity_threshold: number(0, 254, 8, "What is less dark than this does not count as a line."),
    }),
  },
  scribble: {
    description: "A drawing in dark lines as white lines on black.",
    input: "picture",
    feeds: ["scribble"],
    params: sized({}),
  },
  scribble_xdog: {
    description: "Bold lines from a photo, white on black.",
    input: "picture",
    feeds: ["scribble"],
    params: sized({ threshold: number(1, 64, 32, "Less gives more lines.") }),
  },
  threshold: {
    description: "White where red, green and blue are all above the threshold.",
    input: "picture",
    feeds: ["scribble"],
    params: sized({ threshold: number(0, 255, 127, "A level of 0 to 255.") }),
  },
  binary: {
    description: "White where the picture is dark.",
    input: "picture",
    feeds: ["scribble"],
    params: sized({
      threshold: whole(0, 255, 0, "Grey above it is black; 0 and 255 = found from the image."),
    }),
  },
  invert: {
    description: "The negative: makes black lines on white fit.",
    input: "picture",
    feeds: ["line_art", "scribble", "soft_edge", "lines", "depth"],
    params: sized({}),
  },
  normal_from_depth: {
    description: "Surface normals from a picture of depth, near = light.",
    input: "depth",
    feeds: ["normal"],
    params: closed({
      bg_threshold: number(0, 1, 0.1, "Share of the depth below which a pixel is background."),
      a: number(0.01, 100, 2 * Math.PI, "Less makes slopes steeper."),
    }),
  },
  tile: {
    description: "The picture made smaller, for a ControlNet that adds details.",
    input: "picture",
    feeds: ["tile"],
    params: closed({ down_sampling_rate: number(1, 8, 1, "How many times smaller.") }),
  },
  blur: {
    description: "The picture blurred.",
    input: "picture",
    feeds: ["blur"],
    params: sized({ sigma: number(0.01, 64, 9, "Pixels.") }),
  },
  color_grid: {
    description: "Cells of 64 pixels, each of one color.",
    input: "picture",
    feeds: ["color"],
    params: closed({
      resolution: pixels("Pixels of the shorter side, which are those of the map's; null = the image's own size."),
    }),
  },
  recolor_luminance: {
    description: "How light the picture is, for a ControlNet that colors.",
    input: "picture",
    feeds: ["grey"],
    params: sized({ ...gamma }),
  },
  recolor_intensity: {
    description: "The largest of red, green and blue, for a ControlNet that colors.",
    input: "picture",
    feeds: ["grey"],
    params: sized({ ...gamma }),
  },
  shuffle: {
    description: "The picture's colors at other places.",
    input: "picture",
    feeds: ["shuffle"],
    params: sized({
      f: whole(8, 2048, 256, "Pixels that stay about together."),
      seed: whole(0, 2 ** 32 - 1, 0, "Where the random numbers begin."),
    }),
  },
  none: {
    description: "The picture as it is.",
    input: "picture",
    feeds: [],
    params: closed({}),
  },
  inpaint: {
    description: "The picture with what the mask marks taken out.",
    input: "masked_picture",
    feeds: ["inpaint"],
    params: closed({}),
  },
  openpose_render: {
    description: "Skeletons drawn from key points.",
    input: "pose",
    feeds: ["pose"],
    params: closed({
      style: z.enum(["openpose", "dwpose", "controlnet"]).default("openpose").describe("Whose way of drawing."),
      min_confidence: number(0, 1, 1, "A point of less is missing; OpenPose's own files need about 0.05."),
    }),
  },
} as const satisfies Record<string, AnnotatorRow>;

/** Other programs' names of annotators, by ours. */
export const OTHER_NAMES: Readonly<Record<string, readonly string[]>> = {
  blur: ["blur_gaussian"],
  tile: ["tile_resample"],
  color_grid: ["t2ia_color_grid", "color"],
  inpaint: ["inpaint_only"],
  softedge_hed: ["hed"],
  openpose_full: ["dwpose", "dw_openpose_full"],
  depth: ["depth_anything", "depth_midas"],
};

export type AnnotatorName = keyof typeof ANNOTATORS;
export type AnnotatorParams<N extends AnnotatorName> = z.output<(typeof ANNOTATORS)[N]["params"]>;
