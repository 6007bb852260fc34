/** The pictures of a generation that is denoised, as files. */
import { setImmediate } from "node:timers/promises";
import { decodePicture, type GenerationState, type Plan } from "../../src/diffusion/pipeline.ts";
import { toPixels } from "../../src/image/hint.ts";
import { CELL } from "../../src/models/vae.ts";
import { CONTENT_TYPES, type GenerationRequest } from "../../src/schema/generation-request.ts";
import type { EngineSettings, MadeImage } from "./messages.ts";
import type { MakeFile } from "./picture-file.ts";
import type { Inspect } from "./safety.ts";

/**
 * @param inspect what becomes of each picture, and whether it is flagged
 * @param turn comes before each picture; when it throws, making them ends
 */
export async function makeImages(
  plan: Plan,
  { pictures }: GenerationState,
  request: GenerationRequest,
  { fileOf, precision }: { fileOf: MakeFile; precision: EngineSettings["precision"] },
  inspect: Inspect,
  turn: () => void,
): Promise<MadeImage[]> {
  const { seed, output_format } = request;
  const [width, height] = [plan.latentDims[2] * CELL, plan.latentDims[1] * CELL];
  const made: MadeImage[] = [];
  for (const [i, picture] of pictures.entries()) {
    await setImmediate();
    turn();
    const { pixels, flagged } = await inspect(toPixels(await decodePicture(plan, picture), width, height), i);
    const bytes = await fileOf(pixels, request, i);
    const content_type = CONTENT_TYPES[output_format];
    made.push({ bytes, seed: seed + i, width, height, content_type, precision, flagged });
  }
  return made;
}
