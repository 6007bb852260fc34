/** The events of a generation, as src/record.ts writes them into its stream. */
import type { Redis } from "ioredis";
import { eventsKey, type GenerationRecord, parseRecord } from "./record.ts";
import type { ProgressEvent } from "./schema.ts";

export type GenerationEvent = { id: string } & (
  | { event: "progress"; data: ProgressEvent }
  | { event: "queued" | "started" | "succeeded" | "failed" | "canceled"; data: GenerationRecord }
);

/** What an event's id looks like. */
export const EVENT_ID = /^\d{1,9}-\d{1,9}$/;
/** Before the first event. */
export const BEGINNING = "0-0";
const FINAL = "4-0";

/** How many events are read at once: previews can be large. */
const PAGE = 50;

/** Whether nothing can come after it. */
export const isFinal = (id: string) => id === FINAL;

/** The next events after the one with the id `after`, oldest first; none when there are no more by now. */
export async function readEvents(redis: Redis, generation: string, after: string): Promise<GenerationEvent[]> {
  const entries = await redis.xrange(eventsKey(generation), `(${after}`, "+", "COUNT", PAGE);
  return entries.flatMap(([id, flat]) => {
    const fields: Record<string, string> = {};
    for (let i = 0; i < flat.length; i += 2) fields[flat[i]!] = flat[i + 1]!;
    const { event } = fields;
    if (event === "progress") {
      const { step, total, preview } = fields;
      return {
        id,
        event,
        data: { step: Number(step), total: Number(total), ...(preview !== undefined && { preview }) },
      };
    }
    const data = parseRecord(generation, fields);
    return data === undefined ? [] : { id, event: event as Exclude<GenerationEvent["event"], "progress">, data };
  }) as GenerationEvent[];
}
