import type { SafetyMode } from "../config/api-keys.ts";
import {
  type ControlMapRecord,
  Generation,
  type ImageRecord,
  ProgressEvent,
  type Generation as View,
} from "../schema/generation.ts";
import { evaluations, GenerationRequest, generationCost } from "../schema/generation-request.ts";
import { type JobKind, queuedFor } from "./kind.ts";

export type GenerationRecord = Omit<View, "images" | "controls" | "metadata"> & {
  images: ImageRecord[];
  controls: ControlMapRecord[];
  safety_checker: SafetyMode;
};

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
  cost: generationCost,
  exclusiveName: () => null,
  parse: ({ images, controls, metrics, safety_checker }, { created_at, started_at }) => ({
    object: "generation",
    // Those made before there was a choice say nothing.
    images: JSON.parse(images ?? "[]").map((image: ImageRecord) => ({
      ...image,
      precision: image.precision ?? "float32",
    })),
    controls: JSON.parse(controls ?? "[]"),
    safety_checker: (safety_checker ?? "off") as SafetyMode,
    metrics:
      metrics === undefined
        ? {
            queue_ms: queuedFor(created_at, started_at),
            load_ms: null,
            annotate_ms: null,
            encode_ms: null,
            denoise_ms: null,
            decode_ms: null,
            steps_per_second: null,
          }
        : { annotate_ms: null, ...JSON.parse(metrics) },
  }),
  show({ safety_checker: _, ...record }, addresses) {
    const url = (what: string) => addresses.picture(`/v1/generations/${record.id}/${what}`);
    const images = record.images.map((image, n) => ({
      url: url(`images/${n}`),
      ...image,
      flagged: image.flagged ?? null,
    }));
    const controls = record.controls.map((map) => ({
      url: url(`controls/${map.control}${map.picture === null ? "" : `?picture=${map.picture}`}`),
      ...map,
    }));
    return { ...record, images, controls, metadata: record.request.metadata };
  },
  step: ({ step, total, preview }) => ({
    step: Number(step),
    total: Number(total),
    ...(preview !== undefined && { preview }),
  }),
  progressView: ProgressEvent,
  showStep: (_id, step) => step,
};
