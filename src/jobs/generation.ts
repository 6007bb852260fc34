import { Generation, type ImageRecord, type ProgressEvent, type Generation as View } from "../schema/generation.ts";
import { evaluations, GenerationRequest } from "../schema/generation-request.ts";
import { type JobKind, queuedFor } from "./kind.ts";

export type GenerationRecord = Omit<View, "images" | "metadata"> & { images: ImageRecord[] };

/** Pictures made of a request. */
export const generation: JobKind<GenerationRecord, View, ProgressEvent> = {
  name: "generation",
  prefix: "gen_",
  request: GenerationRequest,
  view: Generation,
  words: {
    title: "Generation",
    stops: "one step",
    deletes: "With its pictures, its control images, its events and its webhook deliveries, also those that wait.",
    progress: "one `progress` for each evaluation of the networks",
    data: "`{step, total, preview?}` of a progress, else the generation as it was then; `preview` is a data: URI of a JPEG, when the request asks for it.",
  },
  total: evaluations,
  priority: ({ priority }) => priority,
  exclusiveName: () => null,
  parse: ({ images, metrics }, { created_at, started_at }) => ({
    object: "generation",
    images: JSON.parse(images ?? "[]"),
    metrics:
      metrics === undefined
        ? {
            queue_ms: queuedFor(created_at, started_at),
            load_ms: null,
            encode_ms: null,
            denoise_ms: null,
            decode_ms: null,
            steps_per_second: null,
          }
        : JSON.parse(metrics),
  }),
  show(record, publicUrl) {
    const url = (n: number) => `${publicUrl}/v1/generations/${record.id}/images/${n}`;
    const images = record.images.map((image, n) => ({ url: url(n), ...image }));
    return { ...record, images, metadata: record.request.metadata };
  },
  step: ({ step, total, preview }) => ({
    step: Number(step),
    total: Number(total),
    ...(preview !== undefined && { preview }),
  }),
  showStep: (_id, step) => step,
};
