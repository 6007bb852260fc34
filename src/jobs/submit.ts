/** Accepting a job: its record is written, and from then on it ends as succeeded, failed or canceled. */
import type { Redis } from "ioredis";
import type { SafetyMode } from "../config/api-keys.ts";
import type { Dialect } from "../config/config.ts";
import { script } from "../redis/script.ts";
import { idempotencyKey, imageKey, recordKey, SCRIPT_NAMES } from "./keys.ts";
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
  /** There are `mostQueued` that wait, and of this owner an equal share of them. */
  | { outcome: "full" }
  /** There are `mostOfOwner` of this owner that wait or run. */
  | { outcome: "busy" }
  /** There are `mostKept` of this owner, they have `mostBytes` together with this one, or more than half of what the files of all have and could have. */
  | { outcome: "kept" }
  /** Another job of this kind and name waits or runs. */
  | { outcome: "taken" };

const REFUSALS = ["conflict", "full", "busy", "kept", "taken"] as const;

export interface Terms {
  idempotency?: Idempotency | undefined;
  mostQueued?: number;
  mostOfOwner?: number | undefined;
  mostKept?: number | undefined;
  mostBytes?: number | undefined;
  /** Bytes of its files, which are stored already, and of the room that the disk had before, where others share it. */
  files?: number | undefined;
  room?: number | undefined;
  /** How many of these are its dataset's, which goes before the others. */
  dataset?: number | undefined;
  /** Images that it keeps, and for how many seconds they can be named at most: longer than it is kept. */
  images?: readonly string[];
  imagesSeconds?: number;
  /** The API that it came by, when that is not our own: kept with the record. */
  dialect?: Dialect | undefined;
  /** Where its client sees the service, when that is not PUBLIC_URL: kept with the record, for its webhooks. */
  seenAt?: string | undefined;
  /** Whether a generation's pictures are checked: kept with the record. */
  safety?: SafetyMode | undefined;
}

/** Writes the record of a new job: from then on it is accepted. */
export async function submit(
  redis: Redis,
  id: string,
  request: JobRecord["request"],
  owner: string,
  terms: Terms,
): Promise<Submission> {
  const { webhook } = request;
  const { mostQueued, mostOfOwner, mostKept, mostBytes, room, idempotency, dialect, seenAt, safety } = terms;
  const { files = 0, dataset, images = [], imagesSeconds = 0 } = terms;
  const kind = kindOf(id);
  const cost = kind.cost(request);
  const fields = {
    ...(webhook && { webhook_url: webhook.url, webhook_events: webhook.events.join() }),
    ...(dialect !== undefined && { dialect }),
    ...(seenAt !== undefined && { seen_at: seenAt }),
    ...(safety !== undefined && { safety_checker: safety }),
    ...(dataset !== undefined && { files_dataset: String(dataset) }), // see files-made.ts
    request: JSON.stringify(request),
    ...(cost !== null && { cost: String(cost) }),
    step: "0",
    total: String(kind.total(request)),
  };
  const { key = "", body = "" } = idempotency ?? {};
  const keys = [recordKey(id), idempotencyKey(owner, key), ...images.map((hash) => imageKey(owner, hash))];
  const name = kind.exclusiveName(request) ?? "";
  const bounds = [mostQueued, mostOfOwner, mostKept, mostBytes, room].map((bound) => bound ?? "");
  const given = [key, body, ...bounds, owner, kind.priority(request), name, files, imagesSeconds];
  const answer = await runSubmit(redis, keys, ...given, ...Object.entries(fields).flat());
  if (Array.isArray(answer)) {
    const [rank, created_at] = answer as [number, string];
    return { outcome: "accepted", rank, record: parseRecord(id, { ...fields, created_at, status: "queued" })! };
  }
  const refusal = REFUSALS.find((one) => one === answer);
  return refusal === undefined ? { outcome: "known", id: String(answer) } : { outcome: refusal };
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
