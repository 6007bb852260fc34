import type { AnnotationRecord } from "../../src/jobs/annotation.ts";
import type { Work } from "../take-jobs.ts";
import type { measureAnnotations } from "./measures.ts";
import { type AnnotationParts, performAnnotation } from "./perform-annotation.ts";

/** What an annotation is to its worker. */
export function annotationWork(
  parts: Omit<AnnotationParts, "onStuck">,
  measure: ReturnType<typeof measureAnnotations>,
  onDeath: (error: Error) => void,
): Work<AnnotationRecord> {
  const running = new Map<string, AbortController>();
  let stuck = false;
  const onStuck = () => {
    stuck = true;
  };
  return {
    async perform(claimed, log) {
      const { id } = claimed.record;
      const stop = new AbortController();
      running.set(id, stop);
      try {
        return await performAnnotation({ ...parts, onStuck }, claimed, stop.signal, log);
      } finally {
        running.delete(id);
      }
    },
    cancel(id) {
      running.get(id)?.abort();
      parts.engine.ask("cancel", id);
    },
    ended({ record }, outcome, status) {
      if (status !== null && "pose" in outcome) measure(record.request.annotator.name, outcome.metrics);
      if (stuck) onDeath(new Error("the engine thread does not answer"));
    },
  };
}
