/**
 * The events of a job, as the scripts in lua/ write them into its stream: without what does not change (the request, which
 * the record has) and what goes at the end (the previews).
 */
import type { Redis } from "ioredis";
import { eventsKey, previewsKey, recordKey } from "./keys.ts";
import { type JobRecord, kindOf } from "./kinds.ts";
import { parseRecord } from "./record.ts";

export type JobEvent = { id: string } & (
  | { event: "progress"; data: object }
  | { event: "queued" | "started" | "succeeded" | "failed" | "canceled"; data: JobRecord }
);

/** What an event's id looks like. */
export const EVENT_ID = /^\d{1,9}-\d{1,9}$/;
/** Before the first event. */
export const BEGINNING = "0-0";
const FINAL = "4-0";

/** How many events are read at once: with previews of 20 kB each, and a thousand clients that follow. */
const PAGE = 8;

/** Whether nothing can come after it. */
export const isFinal = (id: string) => id === FINAL;

/** The latest event of a job; undefined when it has none. */
export async function latestEvent(redis: Redis, job: string): Promise<JobEvent | undefined> {
  const [event] = await eventsOf(redis, job, await redis.xrevrange(eventsKey(job), "+", "-", "COUNT", 1));
  return event;
}

/** The next events after the one with the id `after`, oldest first; none when there are no more by now. */
export async function readEvents(redis: Redis, job: string, after: string): Promise<JobEvent[]> {
  const entries = await redis.xrange(eventsKey(job), `(${after}`, "+", "COUNT", PAGE);
  return eventsOf(redis, job, entries);
}

type Entry = [id: string, flat: string[]];

/** The events of entries of a job's stream, with what is not kept there. */
async function eventsOf(redis: Redis, job: string, entries: Entry[]): Promise<JobEvent[]> {
  if (entries.length === 0) return [];
  const read = entries.map(([id, flat]) => {
    const fields: Record<string, string> = {};
    for (let i = 0; i < flat.length; i += 2) fields[flat[i]!] = flat[i + 1]!;
    return { id, fields };
  });
  const [request, previews] = await Promise.all([
    redis.hget(recordKey(job), "request"),
    redis.hmget(previewsKey(job), ...read.map(({ fields }) => fields.step ?? "")),
  ]);
  return read.flatMap(({ id, fields }, index) => {
    const { event } = fields;
    if (event === "progress") {
      const preview = previews[index];
      return { id, event, data: kindOf(job).step({ ...fields, ...(preview != null && { preview }) }) };
    }
    const data = parseRecord(job, { ...(request !== null && { request }), ...fields });
    return data === undefined ? [] : { id, event: event as Exclude<JobEvent["event"], "progress">, data };
  }) as JobEvent[];
}
