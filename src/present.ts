/** A generation as clients see it, in answers, events and webhooks alike. */
import type { GenerationRecord } from "./record.ts";
import type { Generation } from "./schema.ts";

export function present(record: GenerationRecord, publicUrl: string): Generation {
  const url = (n: number) => `${publicUrl}/v1/generations/${record.id}/images/${n}`;
  return {
    ...record,
    object: "generation",
    images: record.images.map((image, n) => ({ url: url(n), ...image })),
    metadata: record.request.metadata,
  };
}
