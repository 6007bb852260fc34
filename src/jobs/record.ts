/**
 * The record of a job in Redis. The hash `<kind>:<id>` is the truth; each change to it (submit.ts, attempt.ts, stop.ts) is
 * one script, so that the record, the lists it stands in, its events and its webhooks agree whatever dies.
 */
import type { Redis } from "ioredis";
import { recordKey } from "./keys.ts";
import type { BaseRecord, Fields } from "./kind.ts";
import { type JobRecord, kindOf } from "./kinds.ts";

const ENDED_STATUSES: ReadonlySet<string> = new Set(["succeeded", "failed", "canceled"]);
export function hasEnded({ status }: { status: string }): boolean {
  return ENDED_STATUSES.has(status);
}

/** The record from the fields of its hash; undefined when they are none. */
export function parseRecord(id: string, fields: Fields): JobRecord | undefined {
  const { status, request, created_at } = fields;
  if (status === undefined || request === undefined || created_at === undefined) return undefined;
  const base: BaseRecord = {
    id,
    status: status as JobRecord["status"],
    progress: { step: Number(fields.step), total: Number(fields.total) },
    request: JSON.parse(request),
    warnings: JSON.parse(fields.warnings ?? "[]"),
    error: JSON.parse(fields.error ?? "null"),
    created_at,
    started_at: fields.started_at ?? null,
    ended_at: fields.ended_at ?? null,
  };
  return { ...base, ...kindOf(id).parse(fields, base) } as JobRecord;
}

/** The records of these ids; undefined where there is none. */
export async function readRecords(redis: Redis, ids: readonly string[]): Promise<(JobRecord | undefined)[]> {
  const all = await Promise.all(ids.map((id) => redis.hgetall(recordKey(id))));
  return all.map((fields, index) => parseRecord(ids[index]!, fields));
}
