import type { Images } from "../../src/diffusion/pipeline.ts";
import { inpaint } from "../../src/image/annotators/inpaint.ts";
import type { ResizeMode } from "../../src/image/fit.ts";
import { grey, hint, mask, sample } from "../../src/image/hint.ts";
import { type Look, lookAt, mapWarnings } from "../../src/image/map-warnings.ts";
import type { GenerationRequest } from "../../src/schema/generation-request.ts";
import { mapKindOf } from "../../src/schema/map-kinds.ts";
import { decodingOnce } from "./decoded.ts";
import { Fitted } from "./fitted.ts";
import { type ControlMap, isAnnotated } from "./maps/controls.ts";

/**
 * A request's images as tensors of the picture's size, one at a time: a large one takes 150 MB while it is decoded.
 * @param files the images' bytes by their hashes
 * @param turn comes before each image; when it throws, reading ends
 * @param maps the control images that annotators have made
 * @param warn hears what the client should know of a control image
 * @param fitted keeps what is made of the images
 */
export async function readImages(
  request: GenerationRequest,
  files: Readonly<Record<string, Uint8Array>>,
  turn: () => Promise<void>,
  maps: readonly ControlMap[] = [],
  warn: (warning: string) => void = () => {},
  fitted = new Fitted(),
): Promise<Images> {
  const { width, height, controls, image, mask_image } = request;
  const decoded = decodingOnce(files);
  const fit = async (hash: string, mode: ResizeMode = "stretch") => {
    await turn();
    return fitted.fit(hash, mode, width, height, () => decoded(hash));
  };
  const tensor = (data: Float32Array) => ({ dims: [1, data.length / (width * height), height, width], data });
  /** @param look at the map as it came: resized, black and white have become gray */
  const judge = async (index: number, look: () => Look | null | Promise<Look | null>) => {
    const { controlnet } = controls[index]!;
    const kind = mapKindOf(controlnet);
    const looks = kind === null ? null : await look();
    if (kind === null || looks === null) return;
    for (const says of mapWarnings(looks, kind)) warn(`controls[${index}]: the map for "${controlnet}" ${says}`);
  };

  const hints = controls.map((control, index) => {
    if (control.annotator?.name === "inpaint") {
      return [async () => tensor(inpaint(await fit(image!), await fit(mask_image!)))];
    }
    if (isAnnotated(control)) {
      return maps
        .filter((made) => made.control === index)
        .map(({ map }) => async () => {
          await turn();
          await judge(index, () => lookAt(map));
          return tensor(hint(map));
        });
    }
    return [control.image!].flat().map((hash) => async () => {
      const pixels = await fit(hash, control.resize_mode);
      await judge(index, () => fitted.look(hash, () => decoded(hash)));
      return tensor(hint(pixels));
    });
  });
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
