import type { Images } from "../../src/diffusion/pipeline.ts";
import { inpaint } from "../../src/image/annotators/inpaint.ts";
import { type ResizeMode, resizeModes } from "../../src/image/fit.ts";
import { grey, hint, mask, sample } from "../../src/image/hint.ts";
import { mapWarnings } from "../../src/image/map-warnings.ts";
import type { Pixels } from "../../src/image/pixels.ts";
import type { GenerationRequest } from "../../src/schema/generation-request.ts";
import { mapKindOf } from "../../src/schema/map-kinds.ts";
import { decodingOnce } from "./decoded.ts";
import { type ControlMap, isAnnotated } from "./maps/controls.ts";

/**
 * A request's images as tensors of the picture's size, one at a time: a large one takes 150 MB while it is decoded.
 * @param files the images' bytes by their hashes
 * @param turn comes before each image; when it throws, reading ends
 * @param maps the control images that annotators have made
 * @param warn hears what the client should know of a control image
 */
export async function readImages(
  request: GenerationRequest,
  files: Readonly<Record<string, Uint8Array>>,
  turn: () => Promise<void>,
  maps: readonly ControlMap[] = [],
  warn: (warning: string) => void = () => {},
): Promise<Images> {
  const { width, height, controls, image, mask_image } = request;
  const decoded = decodingOnce(files);
  const read = async (hash: string) => {
    await turn();
    return decoded(hash);
  };
  const fit = async (hash: string, mode: ResizeMode = "stretch") => resizeModes[mode](await read(hash), width, height);
  const tensor = (data: Float32Array) => ({ dims: [1, data.length / (width * height), height, width], data });
  const look = (index: number, map: Pixels) => {
    for (const warning of looksWrong(request, index, map)) warn(warning);
  };

  const hints = controls.map((control, index) => {
    if (control.annotator?.name === "inpaint") {
      return [async () => tensor(inpaint(await fit(image!), await fit(mask_image!)))];
    }
    if (isAnnotated(control)) {
      return maps
        .filter((made) => made.control === index)
        .map(({ map }) => async () => {
          look(index, map);
          return tensor(hint(map));
        });
    }
    return [control.image!].flat().map((hash) => async () => {
      const pixels = await read(hash);
      look(index, pixels); // before it is resized, which makes grey of black and white
      return tensor(hint(resizeModes[control.resize_mode](pixels, width, height)));
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

/** A map of more pixels is not looked at: it would take its time. */
const MOST_LOOKED_AT = 2 ** 24;

function looksWrong({ controls }: GenerationRequest, index: number, map: Pixels): string[] {
  const { controlnet } = controls[index]!;
  const kind = mapKindOf(controlnet);
  if (kind === null || map.width * map.height > MOST_LOOKED_AT) return [];
  return mapWarnings(map, kind).map((says) => `controls[${index}]: the map for "${controlnet}" ${says}`);
}
