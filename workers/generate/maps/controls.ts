/** The maps of a generation's controls: made of pictures or key points, before anything else. */
import { encodeImage } from "../../../src/image/encode.ts";
import { mapModes } from "../../../src/image/map-modes.ts";
import type { Pixels } from "../../../src/image/pixels.ts";
import type { GenerationRequest } from "../../../src/schema/generation-request.ts";
import type { PoseJson } from "../../../src/schema/pose.ts";
import { MapError, type MapTask } from "./made.ts";
import type { Maps, Stopping } from "./maps.ts";

/** A control's map, at the pictures' size. */
export interface ControlMap {
  readonly control: number;
  /** Which picture it is for; null = for all. */
  readonly picture: number | null;
  readonly map: Pixels;
  readonly pose: PoseJson | null;
}

/** A map to be shown to the client. */
export interface ShownMap extends Omit<ControlMap, "map"> {
  readonly width: number;
  readonly height: number;
  readonly png: Uint8Array;
}

type Control = GenerationRequest["controls"][number];

/** Whether a control's image is made by an annotator, in a form that a picture has. */
export const isAnnotated = ({ annotator }: Control) => annotator !== null && annotator.name !== "inpaint";

/**
 * @param files the images' bytes by their hashes
 * @returns the maps, and what the client should know of them
 * @throws {MapError} when one cannot be made, which says of which control
 */
export async function makeControlMaps(
  { controls, width, height }: GenerationRequest,
  files: Readonly<Record<string, Uint8Array>>,
  maps: Maps,
  maxPixels: number,
  stopping: Stopping,
): Promise<{ made: ControlMap[]; warnings: string[] }> {
  const made: ControlMap[] = [];
  const warnings: string[] = [];
  for (const [control, { annotator, image, pose, resize_mode }] of controls.entries()) {
    if (annotator === null || annotator.name === "inpaint") continue;
    const hashes = image === null ? [null] : [image].flat();
    for (const [i, hash] of hashes.entries()) {
      await stopping.turn();
      const picture = hash === null ? null : files[hash]!;
      const task: MapTask = { choice: annotator, picture, mask: null, pose, maxPixels };
      const one = await maps.make(task, [hash], stopping).catch((error) => {
        throw error instanceof MapError ? new MapError(error.code, `controls[${control}]: ${error.message}`) : error;
      });
      const map = mapModes[resize_mode](one.map, width, height);
      made.push({ control, picture: hashes.length > 1 ? i : null, map, pose: one.pose });
      warnings.push(...one.warnings.map((warning) => `controls[${control}]: ${warning}`));
    }
  }
  return { made, warnings };
}

/** The maps as files. */
export async function showMaps(made: readonly ControlMap[]): Promise<ShownMap[]> {
  const shown: ShownMap[] = [];
  for (const { map, ...rest } of made) {
    shown.push({ ...rest, width: map.width, height: map.height, png: await encodeImage(map, "png") });
  }
  return shown;
}
