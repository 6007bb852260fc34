/** The generations and trainings that there are: an owner's list of them, those that are overdue, and their removal. */
import type { Redis } from "ioredis";
import { GenerationStatus } from "../schema/schema.ts";
import { jobFolder } from "../storage/keys.ts";
import type { Storage } from "../storage/storage.ts";
import { forgetDeliveries } from "../webhooks/outbox.ts";
import { type Kind, kindOf } from "./kinds.ts";
import {
  eventsKey,
  type JobRecord,
  ORPHANED,
  ownedKey,
  parseRecord,
  type RecordOf,
  recordKey,
  stateKey,
  statusKey,
} from "./record.ts";

export interface Page {
  status?: GenerationStatus | undefined;
  limit: number;
  /** `next` of the page before. */
  before?: number | undefined;
}

/** A page of an owner's generations or trainings, newest first. */
export async function listRecords<K extends Kind>(
  redis: Redis,
  kind: K,
  owner: string,
  { status, limit, before }: Page,
) {
  const top = before === undefined ? "+inf" : `(${before}`;
  const key = ownedKey(kind, owner, status);
  const page = await redis.zrange(key, top, "-inf", "BYSCORE", "REV", "LIMIT", 0, limit + 1, "WITHSCORES");
  const ids = page.filter((_, index) => index % 2 === 0).slice(0, limit);
  const records = await readRecords(redis, ids);
  return {
    // What has changed its status, or was removed, between the two looks is left out.
    data: records.filter((record) => record !== undefined && (status ?? record.status) === record.status),
    next: page.length > 2 * limit ? Number(page[2 * limit - 1]) : undefined,
  } as { data: RecordOf<K>[]; next: number | undefined };
}

export async function readRecords(redis: Redis, ids: readonly string[]): Promise<(JobRecord | undefined)[]> {
  const all = await Promise.all(ids.map((id) => redis.hgetall(recordKey(id))));
  return all.map((fields, index) => parseRecord(ids[index]!, fields));
}

/** Removes what has ended: record, events and deliveries at once, then the files. What a crash leaves of them is orphaned. */
export async function removeRecord(redis: Redis, storage: Storage, owner: string, id: string): Promise<void> {
  const transaction = redis.multi();
  const kind = kindOf(id);
  transaction.zadd(ORPHANED, 0, id);
  transaction.del(recordKey(id), eventsKey(id), stateKey(id)).zrem(ownedKey(kind, owner), id);
  transaction.zrem(statusKey(kind, "ended"), id);
  for (const status of GenerationStatus.options) transaction.zrem(ownedKey(kind, owner, status), id);
  forgetDeliveries(transaction, owner, id);
  await transaction.exec();
  await removeFiles(redis, storage, id);
}

/** How long it may take from the first file stored to the record: after that the files are taken for orphans. */
export const ACCEPTED_WITHIN_MS = 600_000;

/** Says that files are about to be kept for a job that is not accepted yet. */
export async function expectFiles(redis: Redis, id: string, withinMs: number): Promise<void> {
  await redis.zadd(ORPHANED, (await now(redis)) + withinMs, id);
}

/** Removes the files of jobs that there are not. */
export async function removeOrphans(redis: Redis, storage: Storage): Promise<number> {
  const ids = await redis.zrangebyscore(ORPHANED, "-inf", await now(redis), "LIMIT", 0, 1000);
  for (const id of ids) await removeFiles(redis, storage, id);
  return ids.length;
}

async function removeFiles(redis: Redis, storage: Storage, id: string): Promise<void> {
  await storage.removeFolder(jobFolder(id));
  await redis.zrem(ORPHANED, id);
}

/** Up to `most` ids that came to a status more than `ms` ago and, when it is given, less than `lessThanMs` ago; the oldest first. */
export async function idsOlderThan(
  redis: Redis,
  kind: Kind,
  status: Parameters<typeof statusKey>[1],
  ms: number,
  { lessThanMs, most = 1000, skip = 0 }: { lessThanMs?: number | undefined; most?: number; skip?: number } = {},
): Promise<string[]> {
  const time = await now(redis);
  const first = lessThanMs === undefined ? "-inf" : time - lessThanMs;
  return redis.zrangebyscore(statusKey(kind, status), first, time - ms, "LIMIT", skip, most);
}

/** The owner of a job; null when there is no such job. */
export async function ownerOfRecord(redis: Redis, id: string): Promise<string | null> {
  return redis.hget(recordKey(id), "owner");
}

/** Redis' own clock in ms: the machines of a fleet need not agree on theirs. */
async function now(redis: Redis): Promise<number> {
  const [seconds, microseconds] = await redis.time();
  return Number(seconds) * 1000 + Math.floor(Number(microseconds) / 1000);
}
