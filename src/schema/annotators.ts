/** The annotators that need no network: what each takes, its parameters, and which kinds of ControlNet its maps feed. */
import { z } from "zod";

/** What a ControlNet was trained to read. */
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

/** What a map is made of: a picture, depth as a picture (near = light), a picture and a mask, or key points. */
export type AnnotatorInput = "picture" | "depth" | "masked_picture" | "pose";

interface Row {
  readonly description: string;
  readonly input: AnnotatorInput;
  readonly feeds: readonly MapKind[];
  readonly params: z.ZodObject;
}

const level = (least: number, most: number) => z.number().min(least).max(most);

const sized = {
  detect_resolution: z
    .int()
    .min(64)
    .max(2048)
    .nullable()
    .default(null)
    .describe("About how many pixels the shorter side has when the map is made; null = the image's own size."),
};

const edges = (low: number, high: number) => ({
  low_threshold: level(0, 2040).default(low).describe("A gradient above it goes an edge on."),
  high_threshold: level(0, 2040).default(high).describe("A gradient above it begins an edge."),
});

const gamma = {
  gamma_correction: level(0.1, 2).default(1).describe("Above 1 darker, below 1 lighter."),
};

export const ANNOTATORS = {
  canny: {
    description: "Edges, white on black.",
    input: "picture",
    feeds: ["canny"],
    params: z.strictObject({ ...edges(100, 200), ...sized }),
  },
  hough_lines: {
    description: "Straight lines, white on black, without a network.",
    input: "picture",
    feeds: ["lines"],
    params: z.strictObject({
      ...edges(50, 150),
      rho: level(0.5, 16).default(1).describe("Pixels between two distances of lines."),
      theta_degrees: level(0.25, 45).default(1).describe("Degrees between two directions of lines."),
      threshold: z.int().min(1).max(10_000).default(50).describe("Edge pixels that a line needs."),
      min_line_length: level(0, 10_000).default(30).describe("Pixels along x or y."),
      max_line_gap: level(0, 10_000).default(5).describe("Pixels without an edge that a line goes on over."),
      ...sized,
    }),
  },
  lineart_standard: {
    description: "What is darker than around it, white on black.",
    input: "picture",
    feeds: ["line_art"],
    params: z.strictObject({
      gaussian_sigma: level(0.01, 64).default(6).describe("Pixels that the picture is blurred by for comparison."),
      intensity_threshold: level(0, 254).default(8).describe("What is less dark than this does not count as a line."),
      ...sized,
    }),
  },
  scribble: {
    description: "A drawing in dark lines as white lines on black.",
    input: "picture",
    feeds: ["scribble"],
    params: z.strictObject({ ...sized }),
  },
  scribble_xdog: {
    description: "Bold lines from a photo, white on black.",
    input: "picture",
    feeds: ["scribble"],
    params: z.strictObject({ threshold: level(1, 64).default(32).describe("Less gives more lines."), ...sized }),
  },
  threshold: {
    description: "White where red, green and blue are all above the threshold.",
    input: "picture",
    feeds: ["scribble"],
    params: z.strictObject({ threshold: level(0, 255).default(127), ...sized }),
  },
  binary: {
    description: "White where the picture is dark.",
    input: "picture",
    feeds: ["scribble"],
    params: z.strictObject({
      threshold: z
        .int()
        .min(0)
        .max(255)
        .default(0)
        .describe("Grey above it is black; 0 and 255 = found from the image."),
      ...sized,
    }),
  },
  invert: {
    description: "The negative: makes black lines on white fit.",
    input: "picture",
    feeds: ["line_art", "scribble", "soft_edge", "lines", "depth"],
    params: z.strictObject({ ...sized }),
  },
  normal_from_depth: {
    description: "Surface normals from a picture of depth, near = light.",
    input: "depth",
    feeds: ["normal"],
    params: z.strictObject({
      bg_threshold: level(0, 1).default(0.1).describe("Share of the depth below which a pixel is background."),
      a: level(0.01, 100)
        .default(2 * Math.PI)
        .describe("Less makes slopes steeper."),
    }),
  },
  tile: {
    description: "The picture made smaller, for a ControlNet that adds details.",
    input: "picture",
    feeds: ["tile"],
    params: z.strictObject({ down_sampling_rate: level(1, 8).default(1).describe("How many times smaller.") }),
  },
  blur: {
    description: "The picture blurred.",
    input: "picture",
    feeds: ["blur"],
    params: z.strictObject({ sigma: level(0.01, 64).default(9).describe("Pixels."), ...sized }),
  },
  color_grid: {
    description: "Cells of 64 pixels, each of one color.",
    input: "picture",
    feeds: ["color"],
    params: z.strictObject({
      resolution: z
        .int()
        .min(64)
        .max(2048)
        .nullable()
        .default(null)
        .describe("Pixels of the shorter side; null = the image's own."),
    }),
  },
  recolor_luminance: {
    description: "How light the picture is, for a ControlNet that colors.",
    input: "picture",
    feeds: ["grey"],
    params: z.strictObject({ ...gamma, ...sized }),
  },
  recolor_intensity: {
    description: "The largest of red, green and blue, for a ControlNet that colors.",
    input: "picture",
    feeds: ["grey"],
    params: z.strictObject({ ...gamma, ...sized }),
  },
  shuffle: {
    description: "The picture's colors at other places.",
    input: "picture",
    feeds: ["shuffle"],
    params: z.strictObject({
      f: z.int().min(8).max(2048).default(256).describe("Pixels that stay about together."),
      seed: z
        .int()
        .min(0)
        .max(2 ** 32 - 1)
        .default(0),
      ...sized,
    }),
  },
  inpaint: {
    description: "The picture with what the mask marks taken out.",
    input: "masked_picture",
    feeds: ["inpaint"],
    params: z.strictObject({}),
  },
  openpose_render: {
    description: "Skeletons drawn from key points.",
    input: "pose",
    feeds: ["pose"],
    params: z.strictObject({
      style: z.enum(["openpose", "dwpose", "controlnet"]).default("openpose").describe("Whose way of drawing."),
      min_confidence: level(0, 1)
        .default(1)
        .describe("A point of less is missing; OpenPose's own files need about 0.05."),
    }),
  },
} as const satisfies Record<string, Row>;

export type AnnotatorName = keyof typeof ANNOTATORS;
export type AnnotatorParams<N extends AnnotatorName> = z.output<(typeof ANNOTATORS)[N]["params"]>;
