/** The jobs that there are: an owner's list of them, and those that are overdue. */
import type { Redis } from "ioredis";
import type { Dialect } from "../config/config.ts";
import { redisNow } from "../redis/time.ts";
import type { JobStatus } from "../schema/job.ts";
import { ownedKey, recordKey, statusKey } from "./keys.ts";
import type { BaseRecord, JobKind } from "./kind.ts";
import { readRecords } from "./record.ts";

export interface Page {
  status?: JobStatus | undefined;
  limit: number;
  /** `next` of the page before. */
  before?: number | undefined;
}

/** What the requests of a page may have together: a hundred usual ones, or four of the longest. */
const PAGE_BYTES = 256 * 1024;

/** How many of these, from the first, a page has room for: one at least. */
async function fitting(redis: Redis, ids: readonly string[]): Promise<number> {
  const sizes = await Promise.all(ids.map((id) => redis.hget(recordKey(id), "bytes")));
  let bytes = 0;
  for (const [index, size] of sizes.entries()) {
    bytes += Number(size);
    if (bytes > PAGE_BYTES && index > 0) return index;
  }
  return ids.length;
}

/** A page of an owner's jobs of a kind, newest first. */
export async function listRecords<R extends BaseRecord>(
  redis: Redis,
  kind: JobKind<R>,
  owner: string,
  { status, limit, before }: Page,
) {
  const top = before === undefined ? "+inf" : `(${before}`;
  const key = ownedKey(kind, owner, status);
  const page = await redis.zrange(key, top, "-inf", "BYSCORE", "REV", "LIMIT", 0, limit + 1, "WITHSCORES");
  const ids = page.filter((_, index) => index % 2 === 0).slice(0, limit);
  const count = await fitting(redis, ids);
  const records = await readRecords(redis, ids.slice(0, count));
  return {
    // What has changed its status, or was removed, between the two looks is left out.
    data: records.filter((record) => record !== undefined && (status ?? record.status) === record.status),
    next: page.length > 2 * count ? Number(page[2 * count - 1]) : undefined,
  } as unknown as { data: R[]; next: number | undefined };
}

/** Ids of an owner's jobs of a kind with this status that came by another system's API, the oldest first; 1000 at most. */
export async function idsOfDialect(redis: Redis, kind: JobKind, owner: string, status: JobStatus, dialect: Dialect) {
  const ids = await redis.zrange(ownedKey(kind, owner, status), "0", "999");
  const dialects = await Promise.all(ids.map((id) => redis.hget(recordKey(id), "dialect")));
  return ids.filter((_, index) => dialects[index] === dialect);
}

/** Up to `most` ids that came to a status more than `ms` ago and, when it is given, less than `lessThanMs` ago; the oldest first. */
export async function idsOlderThan(
  redis: Redis,
  kind: JobKind,
  status: Parameters<typeof statusKey>[1],
  ms: number,
  { lessThanMs, most = 1000, skip = 0 }: { lessThanMs?: number | undefined; most?: number; skip?: number } = {},
): Promise<string[]> {
  const time = await redisNow(redis);
  const first = lessThanMs === undefined ? "-inf" : time - lessThanMs;
  return redis.zrangebyscore(statusKey(kind, status), first, time - ms, "LIMIT", skip, most);
}

/** The owner of a job; null when there is no such job. */
export async function ownerOfRecord(redis: Redis, id: string): Promise<string | null> {
  return redis.hget(recordKey(id), "owner");
}
