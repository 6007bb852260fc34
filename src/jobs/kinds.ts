/** What goes through the queues: a kind of job is a row here. An id says by its prefix of which kind it is. */
import { randomUUID } from "node:crypto";
import type { JobName } from "../schema/job.ts";
import { annotation } from "./annotation.ts";
import { generation } from "./generation.ts";
import type { JobKind } from "./kind.ts";
import { training } from "./training.ts";

export const KINDS = { generation, training, annotation } satisfies Record<JobName, JobKind>;

export const ALL_KINDS: readonly JobKind[] = Object.values(KINDS);

type RecordOf<K> = K extends JobKind<infer R> ? R : never;
/** A record of any kind. */
export type JobRecord = RecordOf<(typeof KINDS)[keyof typeof KINDS]>;

export const newId = ({ prefix }: Pick<JobKind, "prefix">) => `${prefix}${randomUUID().replaceAll("-", "")}`;

/** The kind of the job with this id; an id that begins like none is a generation's, of which there is none then. */
export const kindOf = (id: string): JobKind =>
  ALL_KINDS.find(({ prefix }) => id.startsWith(prefix)) ?? KINDS.generation;
