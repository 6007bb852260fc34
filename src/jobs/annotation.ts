import { Annotation, AnnotationProgressEvent, type MapRecord, type Annotation as View } from "../schema/annotation.ts";
import { AnnotationRequest } from "../schema/annotation-request.ts";
import type { Progress } from "../schema/job.ts";
import { type JobKind, queuedFor } from "./kind.ts";

export type AnnotationRecord = Omit<View, "images" | "metadata"> & { images: MapRecord[] };

/** A map made of a picture or of key points. */
export const annotation: JobKind<AnnotationRecord, View, Progress> = {
  name: "annotation",
  prefix: "ann_",
  request: AnnotationRequest,
  view: Annotation,
  words: {
    title: "Annotation",
    stops: "one run of a network, at once where none runs",
    deletes: "With its picture, its map, its events and its webhook deliveries, also those that wait.",
    progress: "one `progress` when its map is made",
    data: "`{step, total}` of a progress, else the annotation as it was then.",
  },
  total: () => 1,
  priority: ({ priority }) => priority,
  cost: () => null,
  exclusiveName: () => null,
  parse: ({ images, pose, metrics }, { created_at, started_at }) => ({
    object: "annotation",
    images: JSON.parse(images ?? "[]"),
    pose: JSON.parse(pose ?? "null"),
    metrics:
      metrics === undefined
        ? { queue_ms: queuedFor(created_at, started_at), load_ms: null, annotate_ms: null }
        : JSON.parse(metrics),
  }),
  show(record, addresses) {
    const images = record.images.map((image, n) => ({
      url: addresses.picture(`/v1/annotations/${record.id}/images/${n}`),
      ...image,
    }));
    return { ...record, images, metadata: record.request.metadata };
  },
  step: ({ step, total }) => ({ step: Number(step), total: Number(total) }),
  progressView: AnnotationProgressEvent,
  showStep: (_id, step) => step,
};
