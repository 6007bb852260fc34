/** The events of a job, as the scripts in lua/ write them into its stream. */
import type { Redis } from "ioredis";
import { eventsKey } from "./keys.ts";
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

/** How many events are read at once: previews can be large. */
const PAGE = 50;

/** Whether nothing can come after it. */
export const isFinal = (id: string) => id === FINAL;

/** The latest event of a job; undefined when it has none. */
export async function latestEvent(redis: Redis, job: string): Promise<JobEvent | undefined> {
  const [entry] = await redis.xrevrange(eventsKey(job), "+", "-", "COUNT", 1);
  return entry === undefined ? undefined : eventOf(job, entry);
}

/** The next events after the one with the id `after`, oldest first; none when there are no more by now. */
export async function readEvents(redis: Redis, job: string, after: string): Promise<JobEvent[]> {
  const entries = await redis.xrange(eventsKey(job), `(${after}`, "+", "COUNT", PAGE);
  return entries.map((entry) => eventOf(job, entry)).filter((event) => event !== undefined);
}

function eventOf(job: string, [id, flat]: [id: string, flat: string[]]): JobEvent | undefined {
  const fields: Record<string, string> = {};
  for (let i = 0; i < flat.length; i += 2) fields[flat[i]!] = flat[i + 1]!;
  const { event } = fields;
  if (event === "progress") return { id, event, data: kindOf(job).step(fields) };
  const data = parseRecord(job, fields);
  return data === undefined ? undefined : { id, event: event as Exclude<JobEvent["event"], "progress">, data };
}
