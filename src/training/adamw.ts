/** The optimiser's arithmetic, in place on whole blocks of parameters: see parameters.ts. */

/** torch.nn.utils.clip_grad_norm_: scales gradients whose common length exceeds `max`. Returns the length before. */
export function clipNorm(gradients: Float32Array, max: number): number {
  let sum = 0;
  for (let i = 0; i < gradients.length; i++) {
    sum += gradients[i]! * gradients[i]!;
  }
  const norm = Math.sqrt(sum);
  const factor = max / (norm + 1e-6);
  if (factor < 1) {
    for (let i = 0; i < gradients.length; i++) {
      gradients[i]! *= factor;
    }
  }
  return norm;
}

/** First and second moments of the gradients, each as large as the parameters. */
export interface Moments {
  readonly first: Float32Array;
  readonly second: Float32Array;
}

export interface AdamWSettings {
  readonly learning_rate: number;
  readonly adam_weight_decay: number;
}

const [BETA1, BETA2, EPSILON] = [0.9, 0.999, 1e-8];

/**
 * One step of AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101), decay as torch.optim.AdamW has it. `step` counts from 1.
 */
export function adamw(
  parameters: Float32Array,
  gradients: Float32Array,
  { first, second }: Moments,
  step: number,
  { learning_rate, adam_weight_decay }: AdamWSettings,
): void {
  const keep = 1 - learning_rate * adam_weight_decay;
  const size = learning_rate / (1 - BETA1 ** step);
  const correction = 1 / Math.sqrt(1 - BETA2 ** step);
  for (let i = 0; i < parameters.length; i++) {
    const g = gradients[i]!;
    const m = BETA1 * first[i]! + (1 - BETA1) * g;
    const v = BETA2 * second[i]! + (1 - BETA2) * g * g;
    first[i] = m;
    second[i] = v;
    parameters[i] = keep * parameters[i]! - (size * m) / (Math.sqrt(v) * correction + EPSILON);
  }
}

/** Moves an exponential moving average of the parameters on by one step. */
export function moveAverage(average: Float32Array, parameters: Float32Array, decay: number): void {
  for (let i = 0; i < average.length; i++) {
    average[i]! += (1 - decay) * (parameters[i]! - average[i]!);
  }
}
