/** What the networks are told of a request beside the sample and the timestep: the prompts, and SDXL's sizes. */
import type { Tensor } from "../onnx/tensor.ts";
import type { GenerationRequest } from "../schema/generation-request.ts";
import { checkFinite } from "./finite.ts";
import type { LoadedModel } from "./model.ts";
import { repeatRow } from "./rows.ts";
import { encodePrompts } from "./text.ts";

/** SDXL's sizes and crops [rows, 6], as diffusers' _get_add_time_ids. */
function timeIds(request: GenerationRequest, rows: number): Tensor {
  const size = [request.height, request.width];
  const ids = [request.original_size ?? size, request.crops_coords_top_left ?? [0, 0], request.target_size ?? size];
  return repeatRow([6], Float32Array.from(ids.flat()), rows);
}

/**
 * The U-Net's inputs of that kind, [rows, …]: two rows where there is guidance, the unconditional first.
 * @throws {NotFinite}
 */
export async function readConditions(model: LoadedModel, request: GenerationRequest, guided: boolean) {
  const { warnings, ...text } = await encodePrompts(model, request, guided);
  checkFinite("the text encoder, with the prompt's weights,", Object.values(text));
  const conditions: Record<string, Tensor> = {
    ...text,
    ...(model.unet.addition_embed_type !== null && { time_ids: timeIds(request, guided ? 2 : 1) }),
  };
  return { conditions, warnings };
}
