import { exponentialBuckets, Histogram, type Registry } from "prom-client";
import type { AnnotationMetrics } from "../../src/schema/annotation.ts";
import type { Metrics } from "../../src/schema/generation.ts";

/** What a worker measures of the generations that have succeeded, for Prometheus. Returns what takes the numbers of one. */
export function measureGenerations(registry: Registry): (model: string, metrics: Metrics) => void {
  const stage = new Histogram({
    name: "controlnet_stage_seconds",
    help: "Parts of a generation's time: queue (accepted to started), load, annotate, encode, denoise, decode.",
    labelNames: ["stage", "model"],
    buckets: exponentialBuckets(0.01, 3, 11), // 10 ms to 10 min
    registers: [registry],
  });
  const step = new Histogram({
    name: "controlnet_step_seconds",
    help: "One evaluation of the networks, on average over a generation.",
    labelNames: ["model"],
    buckets: exponentialBuckets(0.005, 2, 14), // 5 ms to 41 s
    registers: [registry],
  });
  return (model, { queue_ms, load_ms, annotate_ms, encode_ms, denoise_ms, decode_ms, steps_per_second }) => {
    const stages = {
      queue: queue_ms,
      load: load_ms,
      annotate: annotate_ms,
      encode: encode_ms,
      denoise: denoise_ms,
      decode: decode_ms,
    };
    for (const [name, ms] of Object.entries(stages)) {
      if (ms !== null) stage.observe({ stage: name, model }, ms / 1000);
    }
    if (steps_per_second) step.observe({ model }, 1 / steps_per_second);
  };
}

/** What a worker measures of the annotations that have succeeded, for Prometheus. Returns what takes the numbers of one. */
export function measureAnnotations(registry: Registry): (annotator: string, metrics: AnnotationMetrics) => void {
  const stage = new Histogram({
    name: "controlnet_annotation_seconds",
    help: "Parts of an annotation's time: queue (accepted to started), load, annotate.",
    labelNames: ["stage", "annotator"],
    buckets: exponentialBuckets(0.01, 3, 9), // 10 ms to a minute
    registers: [registry],
  });
  return (annotator, { queue_ms, load_ms, annotate_ms }) => {
    for (const [name, ms] of Object.entries({ queue: queue_ms, load: load_ms, annotate: annotate_ms })) {
      if (ms !== null) stage.observe({ stage: name, annotator }, ms / 1000);
    }
  };
}
