/** Maps that no network is needed for. */
import { AnnotationError } from "../../../src/image/annotators/annotation-error.ts";
import { annotate } from "../../../src/image/annotators.ts";
import type { Pixels } from "../../../src/image/pixels.ts";
import { readPose } from "../../../src/image/pose/json.ts";
import type { PlainChoice } from "../../../src/schema/annotator-choice.ts";
import { type MadeMap, MapError, type MapTask } from "./made.ts";
import { readPicture } from "./picture.ts";

const IN_BLACK =
  "no picture can show what a ControlNet for inpainting is shown: the masked pixels, -1 there, are black here";

/** @throws {MapError} */
export async function makePlain(task: MapTask<PlainChoice>): Promise<MadeMap> {
  try {
    return await make(task);
  } catch (error) {
    throw error instanceof AnnotationError ? new MapError("cannot_annotate", error.message) : error;
  }
}

async function make({ choice, picture, mask, pose, maxPixels }: MapTask<PlainChoice>): Promise<MadeMap> {
  const { name, params } = choice;
  const read = (bytes: Uint8Array | null) => readPicture(bytes!, choice, maxPixels);
  if (name === "openpose_render") {
    if (pose!.canvas_width * pose!.canvas_height > maxPixels) {
      const canvas = `the canvas has ${pose!.canvas_width}×${pose!.canvas_height} pixels`;
      throw new MapError("too_many_pixels", `${canvas}: at most ${maxPixels} are allowed`);
    }
    const { warnings } = readPose(pose!, params.min_confidence);
    return { map: annotate(name, pose!, params), pose, warnings };
  }
  if (name === "inpaint") {
    const pixels = await read(picture);
    const data = annotate(name, { picture: pixels, mask: await read(mask) }, params);
    return { map: shown(data, pixels), pose: null, warnings: [IN_BLACK] };
  }
  return { map: annotate(name as "canny", await read(picture), params as never, true), pose: null, warnings: [] };
}

/** A hint of [3, H, W] as a picture, -1 as black. */
function shown(hint: Float32Array, { width, height }: Pixels): Pixels {
  const data = new Uint8Array(hint.length);
  const plane = width * height;
  for (let c = 0; c < 3; c++)
    for (let p = 0; p < plane; p++) data[3 * p + c] = Math.max(Math.round(hint[c * plane + p]! * 255), 0);
  return { width, height, data };
}
