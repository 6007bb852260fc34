/** What a safety checker says of a picture, to the rounding of diffusers' StableDiffusionSafetyChecker. */
import type { Tensor } from "../onnx/tensor.ts";
import { checkFinite } from "./finite.ts";

export interface Verdict {
  /** Cosines of the picture with each concept, and with each that asks for special care. */
  readonly concept_cos: readonly number[];
  readonly special_cos: readonly number[];
  /** How far each concept's is over its threshold, with what special care adds. */
  readonly concept_scores: readonly number[];
  readonly flagged: boolean;
}

/** What is added to all that follows once something that asks for special care is near. */
const ADJUSTMENT = Math.fround(0.01);
const { fround } = Math;

/** numpy's round to 3 decimals of a float32: halves to the even one. */
function rounded(value: number): number {
  const scaled = fround(fround(value) * 1000);
  const below = Math.floor(scaled);
  const isHalf = scaled - below === 0.5;
  const whole = isHalf ? below + (below % 2 === 0 ? 0 : 1) : Math.round(scaled);
  return fround(whole / 1000);
}

/** The cosine of a vector with each row of [rows, P]. */
function cosines(vector: Float32Array, { dims, data }: Tensor): number[] {
  const [rows, size] = dims as [number, number];
  const length = (of: Float32Array) => Math.max(Math.hypot(...of), 1e-12);
  const own = length(vector);
  return Array.from({ length: rows }, (_, r) => {
    const row = (data as Float32Array).subarray(r * size, (r + 1) * size);
    const dot = row.reduce((sum, value, i) => sum + value * vector[i]!, 0);
    return fround(dot / own / length(row));
  });
}

/**
 * @param outputs of the safety checker's network (src/models/safety-checker.ts), for one picture
 * @throws {NotFinite} when they are no numbers: a comparison with one would let every picture pass
 */
export function verdictOf(outputs: Readonly<Record<string, Tensor>>): Verdict {
  checkFinite("the safety checker", Object.values(outputs));
  const embeds = outputs.image_embeds!.data as Float32Array;
  const thresholds = (name: string) => outputs[`${name}_thresholds`]!.data as Float32Array;
  const special_cos = cosines(embeds, outputs.special!);
  let adjustment = 0;
  for (const [i, cos] of special_cos.entries()) {
    if (rounded(fround(cos - thresholds("special")[i]!) + adjustment) > 0) adjustment = ADJUSTMENT;
  }
  const concept_cos = cosines(embeds, outputs.concepts!);
  const concept_scores = concept_cos.map((cos, i) => fround(fround(cos - thresholds("concept")[i]!) + adjustment));
  return { special_cos, concept_cos, concept_scores, flagged: concept_scores.some((score) => rounded(score) > 0) };
}
