/** Which kind of hint an image is, for a ControlNet-Union. */
import { z } from "zod";

/**
 * The names of a Union's types by their numbers, as xinsir's files have them: six, and eight in ProMax. Each goes by the names of the
 * annotators that make its hints.
 */
export const CONTROL_TYPES: readonly (readonly [string, ...string[]])[] = [
  ["openpose", "pose"],
  ["depth"],
  ["scribble", "hed", "pidi", "ted", "softedge"],
  ["canny", "lineart", "anime_lineart", "mlsd"],
  ["normal"],
  ["segment", "segmentation", "seg"],
  ["tile"],
  ["repaint", "inpaint"],
];

const MOST_TYPES = 1000;
const number = z
  .int()
  .min(0)
  .max(MOST_TYPES)
  .meta({ examples: [3] });

/** As it is sent: the number or one of the names. */
export const SentControlType = z
  .union([number, z.string().min(1).max(40)], "must be the number or the name of one of the Union's types")
  .nullable()
  .default(null)
  .describe(
    `For a ControlNet-Union, which kind of hint the image is: its number or one of its names (${CONTROL_TYPES.map((names, i) => `${i} ${names.join(", ")}`).join("; ")}), of those that GET /v1/controlnets lists for it. Entries that name the same Union are one evaluation. Any other ControlNet has no types: null.`,
  )
  .meta({ examples: ["canny"] });

/** As it is carried out: the number. */
export const KeptControlType = number
  .nullable()
  .default(null)
  .describe("The number of the kind of hint, for a ControlNet-Union; null for any other ControlNet.")
  .meta({ examples: [3] });
