import type { Tensor } from "../onnx/tensor.ts";

/**
 * Classifier-free guidance (arXiv 2207.12598) over [2, C, h, w]: away from the unconditional row, toward the prompt's.
 * @param rescale φ of arXiv 2305.08891, equations 15 and 16: how far the result gets the deviation of the prompt's row
 */
export function guide({ data }: Tensor, scale: number, rescale: number): Float32Array {
  const half = data.length / 2;
  const [uncond, cond] = [data.subarray(0, half) as Float32Array, data.subarray(half) as Float32Array];
  const guided = uncond.map((value, i) => value + scale * (cond[i]! - value));
  if (rescale === 0) return guided;
  const factor = rescale * (deviation(cond) / deviation(guided)) + (1 - rescale);
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
