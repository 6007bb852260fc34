/** Accepting a job: its record is written, and from then on it ends as succeeded, failed or canceled. */
import type { Redis } from "ioredis";
import type { Dialect } from "../config/config.ts";
import { script } from "../redis/script.ts";
import { idempotencyKey, recordKey, SCRIPT_NAMES } from "./keys.ts";
import { type JobRecord, kindOf } from "./kinds.ts";
import { parseRecord } from "./record.ts";

/** What `Idempotency-Key` is remembered by. */
export interface Idempotency {
  key: string;
  /** Hash of the body that it came with. */
  body: string;
}

const runSubmit = script(new URL("lua/submit.lua", import.meta.url), SCRIPT_NAMES);

export type Submission =
  /** `rank`: see lua/fair.lua. */
  | { outcome: "accepted"; rank: number; record: JobRecord }
  /** The same request has been here with the same key: it made this job. */
  | { outcome: "known"; id: string }
  /** The key has been here with another body. */
  | { outcome: "conflict" }
  /** There are `mostQueued` that wait. */
  | { outcome: "full" }
  /** There are `mostOfOwner` of this owner that wait or run. */
  | { outcome: "busy" }
  /** Another job of this kind and name waits or runs. */
  | { outcome: "taken" };

export interface Terms {
  idempotency?: Idempotency | undefined;
  mostQueued?: number;
  mostOfOwner?: number | undefined;
  /** The API that it came by, when that is not our own: kept with the record. */
  dialect?: Dialect | undefined;
}

/** Writes the record of a new job: from then on it is accepted. */
export async function submit(
  redis: Redis,
  id: string,
  request: JobRecord["request"],
  owner: string,
  { mostQueued, mostOfOwner, idempotency, dialect }: Terms,
): Promise<Submission> {
  const { webhook } = request;
  const kind = kindOf(id);
  const fields = {
    ...(webhook && { webhook_url: webhook.url, webhook_events: webhook.events.join() }),
    ...(dialect !== undefined && { dialect }),
    request: JSON.stringify(request),
    step: "0",
    total: String(kind.total(request)),
    created_at: new Date().toISOString(),
  };
  const { key = "", body = "" } = idempotency ?? {};
  const keys = [recordKey(id), idempotencyKey(owner, key)];
  const name = kind.exclusiveName(request) ?? "";
  const terms = [key, body, mostQueued ?? "", mostOfOwner ?? "", owner, kind.priority(request), name];
  const answer = await runSubmit(redis, keys, ...terms, ...Object.entries(fields).flat());
  if (typeof answer === "number") {
    return { outcome: "accepted", rank: answer, record: parseRecord(id, { ...fields, status: "queued" })! };
  }
  if (answer === "conflict" || answer === "full" || answer === "busy" || answer === "taken") return { outcome: answer };
  return { outcome: "known", id: String(answer) };
}

/** The job that a key has made already, with this body or ("conflict") another; undefined when it has made none. */
export async function remembered(
  redis: Redis,
  owner: string,
  { key, body }: Idempotency,
): Promise<Extract<Submission, { outcome: "known" | "conflict" }> | undefined> {
  const [id, sent] = await redis.hmget(idempotencyKey(owner, key), "generation", "body");
  if (!id) return undefined;
  return sent === body ? { outcome: "known", id } : { outcome: "conflict" };
}
