import type { Tensor } from "../onnx/tensor.ts";

/** Classifier-free guidance (arXiv 2207.12598) over [2, C, h, w]: away from the unconditional row, toward the prompt's. */
export function guide({ data }: Tensor, scale: number): Float32Array {
  const half = data.length / 2;
  const [uncond, cond] = [data.subarray(0, half) as Float32Array, data.subarray(half) as Float32Array];
  return uncond.map((value, i) => value + scale * (cond[i]! - value));
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
