/** What the networks are told of a request beside the sample and the timestep: the prompts, and SDXL's sizes. */
import type { Tensor } from "../onnx/tensor.ts";
import type { GenerationRequest } from "../schema/generation-request.ts";
import { checkFinite } from "./finite.ts";
import type { Rows } from "./guidance.ts";
import type { LoadedModel } from "./model.ts";
import { repeatFirst, repeatRow } from "./rows.ts";
import { encodePrompts } from "./text.ts";

/** SDXL's sizes and crops [rows, 6], as diffusers' _get_add_time_ids. */
function timeIds(request: GenerationRequest, rows: number): Tensor {
  const size = [request.height, request.width];
  const ids = [request.original_size ?? size, request.crops_coords_top_left ?? [0, 0], request.target_size ?? size];
  return repeatRow([6], Float32Array.from(ids.flat()), rows);
}

/**
 * The U-Net's inputs of that kind, [rows, …]: two rows where there is guidance, the unconditional first, which stands there twice
 * where an image guides too.
 * @throws {NotFinite}
 */
export async function readConditions(model: LoadedModel, request: GenerationRequest, rows: Rows) {
  const { warnings, ...encoded } = await encodePrompts(model, request, rows > 1);
  const text = Object.fromEntries(
    Object.entries(encoded).map(([name, tensor]) => [name, rows === 3 ? repeatFirst(tensor) : tensor]),
  );
  const loras = request.loras.filter(({ scale }) => scale !== 0).map(({ lora }) => ` and the LoRA "${lora}"`);
  checkFinite(`the text encoder, with the prompt's weights${loras.join("")},`, Object.values(text));
  const conditions: Record<string, Tensor> = {
    ...text,
    ...(model.unet.addition_embed_type !== null && { time_ids: timeIds(request, rows) }),
  };
  return { conditions, warnings };
}
