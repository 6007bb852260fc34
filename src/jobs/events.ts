/** The events of a generation or a training, as src/jobs/record.ts writes them into its stream. */
import type { Redis } from "ioredis";
import type { ProgressEvent } from "../schema/generation.ts";
import type { TrainingProgressEvent } from "../schema/training.ts";
import { kindOf } from "./kinds.ts";
import { eventsKey, type JobRecord, parseRecord } from "./record.ts";

export type JobEvent = { id: string } & (
  | { event: "progress"; data: ProgressEvent | TrainingProgressEvent }
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

/** The next events after the one with the id `after`, oldest first; none when there are no more by now. */
export async function readEvents(redis: Redis, job: string, after: string): Promise<JobEvent[]> {
  const entries = await redis.xrange(eventsKey(job), `(${after}`, "+", "COUNT", PAGE);
  return entries.flatMap(([id, flat]) => {
    const fields: Record<string, string> = {};
    for (let i = 0; i < flat.length; i += 2) fields[flat[i]!] = flat[i + 1]!;
    const { event } = fields;
    if (event === "progress") {
      return { id, event, data: kindOf(job) === "training" ? trainingProgress(fields) : progress(fields) };
    }
    const data = parseRecord(job, fields);
    return data === undefined ? [] : { id, event: event as Exclude<JobEvent["event"], "progress">, data };
  }) as JobEvent[];
}

type Fields = Record<string, string>;

const progress = ({ step, total, preview }: Fields): ProgressEvent => ({
  step: Number(step),
  total: Number(total),
  ...(preview !== undefined && { preview }),
});

const trainingProgress = ({ step, total, loss, learning_rate, validation }: Fields): TrainingProgressEvent => ({
  step: Number(step),
  total: Number(total),
  loss: Number(loss),
  learning_rate: Number(learning_rate),
  validation: JSON.parse(validation ?? "[]"),
});
