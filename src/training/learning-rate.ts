export interface RateSettings {
  readonly learning_rate: number;
  readonly lr_scheduler: "constant" | "cosine";
  readonly lr_warmup_steps: number;
  readonly max_train_steps: number;
}

/** What is left of the learning rate after a share of 0 … 1 of the steps after the warm-up. */
const courses: Record<RateSettings["lr_scheduler"], (done: number) => number> = {
  constant: () => 1,
  cosine: (done) => (1 + Math.cos(Math.PI * done)) / 2,
};

/** The learning rate of step `step`, from 1: a linear warm-up, then its course (diffusers' get_scheduler). */
export function learningRate(step: number, settings: RateSettings): number {
  const { learning_rate, lr_scheduler, lr_warmup_steps: warmup, max_train_steps: total } = settings;
  const before = step - 1; // diffusers' count of steps done
  if (before < warmup) {
    return (learning_rate * before) / warmup;
  }
  return learning_rate * courses[lr_scheduler]((before - warmup) / Math.max(1, total - warmup));
}
