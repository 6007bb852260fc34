/** The annotators that run networks, whose files lie in MODELS_DIR/annotators: their parameters, and what their maps feed. */
import { z } from "zod";
import { type AnnotatorRow, number, sized } from "./annotators.ts";
import { Id } from "./fields.ts";

interface NetworkRow extends AnnotatorRow {
  /** Whether the network is shown the picture at its own size, and not at a size of the network's. */
  readonly atOwnSize: boolean;
}

/** What all of them take, beside the sizes. */
const network = {
  network: Id.nullable()
    .default(null)
    .describe("Folder of MODELS_DIR/annotators; null = the first of those that GET /v1/annotators lists.")
    .meta({ examples: ["depth-anything-v2-small"] }),
};

const safe = {
  safe: z
    .boolean()
    .default(false)
    .describe("Edges in three steps instead of fine ones, so that no picture hides in them."),
};
const asScribble = { scribble: z.boolean().default(false).describe("Bold lines instead of soft edges.") };

/** A row whose network sees the picture at its own size. */
const atOwnSize = <P extends z.ZodObject>(feeds: AnnotatorRow["feeds"], description: string, params: P) => ({
  description,
  input: "picture" as const,
  feeds,
  params,
  atOwnSize: true,
});

/** A row whose network sees every picture at a size of its own. */
const atItsSize = <P extends z.ZodObject>(feeds: AnnotatorRow["feeds"], description: string, params: P) => ({
  ...atOwnSize(feeds, description, params),
  atOwnSize: false,
});

export const NETWORK_ANNOTATORS = {
  depth: atItsSize(
    ["depth"],
    "Depth, near = light.",
    sized({
      resample: z
        .enum(["bicubic", "bilinear"])
        .default("bicubic")
        .describe("How the network's result gets the image's size: as transformers, or as the A1111 extension."),
      ...network,
    }),
  ),
  normal_midas: atItsSize(
    ["normal"],
    "Surface normals, by way of depth.",
    sized({
      bg_threshold: number(0, 1, 0.1, "Share of the depth below which a pixel is background."),
      a: number(0.01, 100, 2 * Math.PI, "Less makes slopes steeper."),
      ...network,
    }),
  ),
  normal_bae: atOwnSize(["normal"], "Surface normals by NormalBae.", sized(network)),
  normal_metric3d: atItsSize(["normal"], "Surface normals by Metric3D.", sized(network)),
  segmentation: atItsSize(["segmentation"], "The classes of ADE20K in their colors.", sized(network)),
  softedge_hed: atOwnSize(["soft_edge"], "Soft edges by HED.", sized({ ...safe, ...asScribble, ...network })),
  softedge_teed: atOwnSize(
    ["soft_edge"],
    "Soft edges by TEED; both sides are multiples of 8.",
    sized({
      safe_steps: z
        .int()
        .min(0)
        .max(10)
        .default(2)
        .describe("Edges in so many steps and one; 0 = as fine as they are.")
        .meta({ examples: [2] }),
      ...network,
    }),
  ),
  softedge_pidinet: atOwnSize(
    ["soft_edge"],
    "Soft edges by PiDiNet.",
    sized({
      ...safe,
      ...asScribble,
      apply_filter: z.boolean().default(false).describe("Edges above a half are white, others black."),
      ...network,
    }),
  ),
  scribble_hed: atOwnSize(["scribble"], "Bold lines by HED.", sized(network)),
  scribble_pidinet: atOwnSize(["scribble"], "Bold lines by PiDiNet.", sized(network)),
  lineart_realistic: atOwnSize(["line_art"], "A photo as a line drawing.", sized(network)),
  lineart_coarse: atOwnSize(["line_art"], "A photo as a coarse line drawing.", sized(network)),
  lineart_anime: atOwnSize(["line_art"], "A drawn picture as its lines.", sized(network)),
  mlsd: atOwnSize(
    ["lines"],
    "Straight lines by M-LSD; both sides are multiples of 32.",
    sized({
      thr_v: number(0.01, 2, 0.1, "The least score of a line."),
      thr_d: number(0.01, 20, 0.1, "The least length of a line, in cells of two pixels."),
      ...network,
    }),
  ),
  openpose: atItsSize(["pose"], "Skeletons of the people in it: bodies.", sized(network)),
  openpose_full: atItsSize(["pose"], "Skeletons of the people in it: bodies, hands and faces.", sized(network)),
} as const satisfies Record<string, NetworkRow>;

export type NetworkAnnotatorName = keyof typeof NETWORK_ANNOTATORS;
export type NetworkAnnotatorParams<N extends NetworkAnnotatorName> = z.output<(typeof NETWORK_ANNOTATORS)[N]["params"]>;

export const isNetworkAnnotator = (name: string): name is NetworkAnnotatorName => name in NETWORK_ANNOTATORS;
