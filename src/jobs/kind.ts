/** What a kind of job says of itself. A kind is one value of this type in a file of its own, and a row of KINDS. */
import type { z } from "zod";
import type { Generation } from "../schema/generation.ts";
import type { Addresses } from "./addresses.ts";

/** The fields of a record's hash in Redis, or of an event's entry. */
export type Fields = Readonly<Record<string, string>>;

/** What every request of a job has. */
export interface JobRequest {
  webhook: { url: string; events: string[] } | null;
  metadata: Record<string, unknown>;
}

/** What every record has. */
export interface BaseRecord {
  id: string;
  status: Generation["status"];
  progress: Generation["progress"];
  request: JobRequest;
  warnings: string[];
  error: Generation["error"];
  created_at: string;
  started_at: string | null;
  ended_at: string | null;
}

export interface JobKind<
  R extends BaseRecord = BaseRecord,
  View extends object = object,
  Step extends object = object,
> {
  /** As Redis' keys, paths (`/v1/<name>s`), the log and errors have it: "generation". */
  readonly name: string;
  /** What its ids begin with: "gen_". */
  readonly prefix: string;
  /** The request as it is carried out. */
  readonly request: z.ZodType<R["request"]>;
  /** What clients see of one. */
  readonly view: z.ZodType<View>;
  readonly words: Words;
  /** Steps in all, where `progress` ends. */
  total(request: R["request"]): number;
  /** 0 (first) to 9. */
  priority(request: R["request"]): number;
  /** How much work it is beside others of its kind, which give way to what is shorter; null = none gives way to it. */
  cost(request: R["request"]): number | null;
  /** A name that only one of its kind may have as long as it waits or runs; null = it needs none. */
  exclusiveName(request: R["request"]): string | null;
  /** What a record of this kind has beside {@link BaseRecord}. */
  parse(fields: Fields, base: BaseRecord): Omit<R, keyof BaseRecord>;
  /** A record as clients see it, in answers, events and webhooks alike. */
  show(record: R, addresses: Addresses): View;
  /** The data of a progress event. */
  step(fields: Fields): Step;
  /** What clients see of a progress event's data. */
  readonly progressView: z.ZodType;
  /** The data of a progress event as clients see it. */
  showStep(id: string, step: Step, addresses: Addresses): object;
}

/** How long a job has waited for its worker, in ms; null = it still does. */
export const queuedFor = (created_at: string, started_at: string | null) =>
  started_at === null ? null : Math.max(0, Date.parse(started_at) - Date.parse(created_at));

/** How a kind is spoken of in the OpenAPI document. */
export interface Words {
  /** In operationIds and schemas: "Generation". */
  readonly title: string;
  /** Within which time one that runs stops: "one step". */
  readonly stops: string;
  /** What goes with one that is deleted. */
  readonly deletes: string;
  /** How often progress is told of, in the stream's list of events. */
  readonly progress: string;
  /** What the data of the stream's events is. */
  readonly data: string;
}
