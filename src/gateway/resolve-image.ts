/** What a model makes of the request's image: how far it goes from it, how strongly it keeps to it, or nothing. */
import { Refused } from "../errors.ts";
import type { Model } from "../schema/catalog.ts";
import { DEFAULT_STRENGTH, type GenerationInput, type GenerationRequest } from "../schema/generation-request.ts";
import { IMAGE_GUIDANCE_SCALE } from "../schema/sampling.ts";
import { unprocessable } from "./unprocessable.ts";

type Settled = Pick<GenerationRequest, "strength" | "image_guidance_scale">;

/** @throws {Refused} naming the field that is missing, or that the model has no use for */
export function settleImage(input: GenerationInput, model: Model): Settled {
  return model.instruct_pix2pix ? edited(input, model) : begun(input, model);
}

/** A picture that begins with the image, or in its place. */
function begun(input: GenerationInput, { id, inpainting }: Model): Settled {
  const missing = (["image", "mask_image"] as const).find((field) => inpainting && input[field] === undefined);
  if (missing !== undefined) {
    throw unprocessable("field_missing", missing, `"${id}" is an inpainting model: it needs image and mask_image`);
  }
  if (input.image_guidance_scale !== null) {
    const message = `is for models that edit an image by instructions (instruct_pix2pix in GET /v1/models), which "${id}" is not`;
    throw unprocessable("field_does_not_fit", "image_guidance_scale", message);
  }
  if (input.image === undefined) return { strength: null, image_guidance_scale: null };
  const { strength = DEFAULT_STRENGTH, num_inference_steps: steps } = input;
  if (Math.trunc(steps * strength) < 1) {
    const message = `of ${strength} leaves none of ${steps} steps to run`;
    throw new Refused(400, "invalid_request", `strength: ${message}`, [{ path: "strength", message }]);
  }
  return { strength, image_guidance_scale: null };
}

/** A picture of noise alone, made by a model that is shown the image all the time. */
function edited(input: GenerationInput, { id }: Model): Settled {
  const refuse = (code: string, path: string, message: string) => unprocessable(code, path, `"${id}" ${message}`);
  if (input.image === undefined) {
    throw refuse("field_missing", "image", "edits an image as the prompt says: it needs image");
  }
  if (input.mask_image !== undefined) {
    throw refuse("field_does_not_fit", "mask_image", "edits the whole image: it takes no mask");
  }
  if (input.strength !== undefined) {
    const message = "begins with noise, whatever the image: image_guidance_scale says how strongly it keeps to that";
    throw refuse("field_does_not_fit", "strength", message);
  }
  if (input.image_guidance_scale !== null && input.guidance_scale <= 1) {
    throw unprocessable("field_does_not_fit", "image_guidance_scale", "needs a guidance_scale of more than 1");
  }
  return { strength: null, image_guidance_scale: input.image_guidance_scale ?? IMAGE_GUIDANCE_SCALE };
}
