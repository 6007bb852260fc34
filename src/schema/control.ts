/** One entry of a request's `controls`. */

import { z } from "zod";
import { Id } from "./fields.ts";
import type { ImageForms } from "./images.ts";

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
export const controlImages = <O extends z.ZodType, L extends z.ZodType, M extends z.ZodType>(
  form: ImageForms<O, L, M>,
) => ({
  image: form.oneOrList.describe(
    "The control image, or a list with one for each of num_images. Transparency is dropped, as diffusers does, and the colors under it count: strokes on a clear canvas belong on an opaque one first.",
  ),
  mask: form.optional.describe(
    "Where the ControlNet acts, stretched to the picture's size: white = fully, black = not at all; its alpha does not count.",
  ),
});
