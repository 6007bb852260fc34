import { exponentialBuckets, Histogram, type Registry } from "prom-client";

/** What a trainer measures of its trainings, for Prometheus. Returns what takes the seconds of a step. */
export function measureTrainings(registry: Registry): (base: string, seconds: number) => void {
  const step = new Histogram({
    name: "controlnet_training_step_seconds",
    help: "Steps of trainings, saving left out.",
    labelNames: ["base"],
    buckets: exponentialBuckets(0.05, 2, 13), // 50 ms to 3 min
    registers: [registry],
  });
  return (base, seconds) => step.observe({ base }, seconds);
}
