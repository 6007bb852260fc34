/** One entry of a request's `controls`. */

import { z } from "zod";
import { ALL_ANNOTATORS, type AnnotatorChoice } from "./annotator-choice.ts";
import { Id } from "./fields.ts";
import type { ImageForms } from "./images.ts";
import { PoseJson } from "./pose.ts";

/** How a control image is made, where it is not there. @param annotator as it is sent, or carried out */
export const controlMaking = <A extends z.ZodType>(annotator: A) => ({
  annotator: annotator
    .nullable()
    .default(null)
    .describe("Makes the control image of `image`, once for all pictures; null = `image` is one already."),
  pose: PoseJson.nullable()
    .default(null)
    .describe("Key points whose skeletons are the control image, instead of `image`; null = none."),
});

/** The fields that a control image is made of. */
interface Making {
  annotator: AnnotatorChoice | null;
  image?: unknown;
  pose: unknown;
}

/** What is wrong with how a control image is to be made, by its field. @param source whether the request has image and mask_image */
export function makingConflict(
  { annotator, image, pose }: Making,
  source: boolean,
): [field: string, message: string] | null {
  const [hasImage, hasPose] = [image, pose].map((value) => (value ?? null) !== null);
  const input = annotator === null ? (hasPose ? "pose" : "picture") : ALL_ANNOTATORS[annotator.name]!.input;
  if (hasImage && hasPose) return ["pose", "cannot be given together with image"];
  if (hasPose && input !== "pose")
    return ["annotator", "makes a map of an image, not of a pose: leave one of the two out"];
  if (input === "pose") return hasPose ? null : ["pose", `is required by the annotator "${annotator?.name}"`];
  if (input !== "masked_picture") return hasImage ? null : ["image", "is required"];
  if (hasImage)
    return ["image", 'is not read by the annotator "inpaint", which takes the request\'s image and mask_image'];
  return source ? null : ["annotator", "inpaint needs the request's image and mask_image"];
}

export const controlShape = {
  controlnet: Id.describe("Id of a ControlNet that fits the model, from GET /v1/controlnets.").meta({
    examples: ["sd-controlnet-canny"],
  }),
  conditioning_scale: z
    .number()
    .min(0)
    .max(10)
    .default(1)
    .describe("Factor on the ControlNet's residuals; 0 = off.")
    .meta({ examples: [0.8] }),
  control_guidance_start: z
    .number()
    .min(0)
    .max(1)
    .default(0)
    .describe("The ControlNet runs at evaluation i of total when i/total >= start …")
    .meta({ examples: [0] }),
  control_guidance_end: z
    .number()
    .min(0)
    .max(1)
    .default(1)
    .describe("… and (i+1)/total <= end.")
    .meta({ examples: [0.8] }),
  control_mode: z
    .enum(["balanced", "prompt", "control"])
    .default("balanced")
    .describe(
      "Which counts more, as in the A1111 extension: prompt = residual i times 0.825^(12-i); control = so too, and on the conditional half only.",
    ),
  resize_mode: z
    .enum(["stretch", "crop", "fill"])
    .default("stretch")
    .describe(
      "How an image of other proportions becomes width × height: stretched as in diffusers, scaled to cover and cropped, or scaled to fit and filled up.",
    ),
  layer_scales: z
    .array(z.number().min(0).max(10))
    .min(1)
    .max(100)
    .nullable()
    .default(null)
    .describe(
      "A factor for each residual, as many as the model's `residuals`: skip connections first, then the middle.",
    ),
};

/** The images of one control: a new one is a line here. */
export const controlImages = <O extends z.ZodType, L extends z.ZodType, M extends z.ZodType, P extends z.ZodType>(
  form: ImageForms<O, L, M, P>,
) => ({
  image: form.optionalOneOrList.describe(
    "The control image, or a list with one for each of num_images; with `annotator`, what it makes the control image of. Not with `pose`, nor with the annotator `inpaint`, which reads the request's image and mask_image. Transparency is dropped, as diffusers does, and the colors under it count: strokes on a clear canvas belong on an opaque one first; to annotators what is clear is white.",
  ),
  mask: form.optional.describe(
    "Where the ControlNet acts, stretched to the picture's size: white = fully, black = not at all; its alpha does not count.",
  ),
});
