import type { Images } from "../../src/diffusion/pipeline.ts";
import { decode } from "../../src/image/decode.ts";
import { type ResizeMode, resizeModes } from "../../src/image/fit.ts";
import { grey, hint, mask, sample } from "../../src/image/hint.ts";
import { MAX_IMAGE_PIXELS } from "../../src/schema/fields.ts";
import type { GenerationRequest } from "../../src/schema/generation-request.ts";

/**
 * A request's images as tensors of the picture's size, one at a time: a large one takes 150 MB while it is decoded.
 * @param files the images' bytes by their hashes
 * @param turn comes before each image; when it throws, reading ends
 */
export async function readImages(
  request: GenerationRequest,
  files: Readonly<Record<string, Uint8Array>>,
  turn: () => Promise<void>,
): Promise<Images> {
  const { width, height, controls, image, mask_image } = request;
  const fit = async (hash: string, mode: ResizeMode = "stretch") => {
    await turn();
    return resizeModes[mode](await decode(files[hash]!, { maxPixels: MAX_IMAGE_PIXELS }), width, height);
  };
  const tensor = (data: Float32Array) => ({ dims: [1, data.length / (width * height), height, width], data });

  const hints = controls.map(({ image, resize_mode }) =>
    [image].flat().map((hash) => async () => tensor(hint(await fit(hash, resize_mode)))),
  );
  const masks: Images["masks"][number][] = [];
  for (const control of controls) {
    masks.push(control.mask === null ? null : tensor(grey(await fit(control.mask))));
  }
  const source =
    image === null
      ? null
      : {
          image: tensor(sample(await fit(image))),
          mask: mask_image === null ? null : tensor(mask(await fit(mask_image))),
        };
  return { hints, masks, source };
}
