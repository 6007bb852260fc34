/** How a request names an image. */

import { z } from "zod";
import { MAX_IMAGES } from "./fields.ts";

const imageSource =
  'a data: URI with base64 data ("data:image/png;base64,…"), an https: address, or "upload:" and the id of an upload';

/** An image in a request. The pattern looks at the head of a data: URI alone: one over 20 MB of base64 would be slow. */
export const ImageSource = z
  .string()
  .regex(/^(data:[^,]{0,200};base64,|https?:\/\/\S{1,4000}$|upload:\w{1,100}$)/, `must be ${imageSource}`);

/** An image in the echo of a request: what it hashes to, never its bytes. */
export const ImageHash = z.string().regex(/^sha256:[0-9a-f]{64}$/);

export function oneOrList<T extends z.ZodType>(image: T) {
  return z.union([image, z.array(image).min(1).max(MAX_IMAGES)], {
    error: `must be one image or a list of num_images images; an image is ${imageSource}`,
  });
}
