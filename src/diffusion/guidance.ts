import { shownBeside } from "../models/unet-inputs.ts";
import type { Tensor } from "../onnx/tensor.ts";
import type { GenerationRequest } from "../schema/generation-request.ts";
import type { LoadedModel } from "./model.ts";
import { takeRows } from "./rows.ts";

type Guidance = Pick<GenerationRequest, "guidance_scale" | "guidance_rescale" | "image_guidance_scale">;

/** How many rows the networks' inputs have: the prompt's last, before it what guidance leads away from. */
export type Rows = 1 | 2 | 3;

/** What guidance takes. A U-Net distilled for guidance is told its scale instead (diffusers' do_classifier_free_guidance). */
export function guidanceRows(
  { guidance_scale }: Pick<Guidance, "guidance_scale">,
  model: Pick<LoadedModel, "unet" | "vae">,
): Rows {
  if (guidance_scale <= 1 || model.unet.time_cond_proj_dim !== null) return 1;
  return shownBeside(model) === "image" ? 3 : 2;
}

/**
 * Classifier-free guidance (arXiv 2207.12598) over [rows, C, h, w], the prompt's row last:
 * - one row: there is none
 * - two: away from the unconditional row, toward the prompt's
 * - three, instruct-pix2pix (arXiv 2211.09800, equation 3): away from the row with neither image nor prompt toward the image's, and
 *   from that toward the one with both
 */
export function guide(out: Tensor, { guidance_scale, guidance_rescale, image_guidance_scale }: Guidance): Float32Array {
  const rows = Array.from({ length: out.dims[0]! }, (_, row) => takeRows(out, row, row + 1).data as Float32Array);
  const prompt = rows.at(-1)!;
  if (rows.length === 1) return prompt;
  const [without] = rows as [Float32Array];
  const image = rows.at(-2)!;
  const guided = without.map(
    (value, i) =>
      value +
      guidance_scale * (prompt[i]! - image[i]!) +
      (rows.length === 3 ? image_guidance_scale! * (image[i]! - value) : 0),
  );
  return guidance_rescale === 0 ? guided : rescaled(guided, prompt, guidance_rescale);
}

/** @param share φ of arXiv 2305.08891, equations 15 and 16: how far the result gets the deviation of the prompt's row */
function rescaled(guided: Float32Array, prompt: Float32Array, share: number): Float32Array {
  const factor = share * (deviation(prompt) / deviation(guided)) + (1 - share);
  return guided.map((value) => value * factor);
}

/** Standard deviation of a sample, as torch.std: over the count less one. */
function deviation(values: Float32Array): number {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1));
}

/** What a U-Net distilled for guidance (arXiv 2310.04378, LCM) is told of its scale: sinusoids, as diffusers' get_guidance_scale_embedding. */
export function guidanceEmbedding(scale: number, size: number): Float32Array {
  const half = Math.floor(size / 2);
  const angles = Array.from(
    { length: half },
    (_, i) => (scale - 1) * 1000 * Math.exp((-Math.log(10000) * i) / (half - 1)),
  );
  const embedding = new Float32Array(size);
  embedding.set([...angles.map(Math.sin), ...angles.map(Math.cos)]);
  return embedding;
}
