/** The removal of jobs that have ended: when their time is over, when their owner has too many, or asks for it. */
import type { Redis } from "ioredis";
import { script } from "../redis/script.ts";
import { redisNow } from "../redis/time.ts";
import { inputKey, jobFolder } from "../storage/keys.ts";
import type { Storage } from "../storage/storage.ts";
import { deliveryIds } from "../webhooks/outbox.ts";
import { forgetImages } from "./kept-images.ts";
import { inputsKey, ORPHANED, ownedKey, recordKey, SCRIPT_NAMES } from "./keys.ts";
import type { JobKind } from "./kind.ts";

const runRemove = script(new URL("lua/remove.lua", import.meta.url), SCRIPT_NAMES);

const ENDED = ["succeeded", "failed", "canceled"] as const;

/**
 * Removes jobs that have ended: record, events and deliveries at once, then the files. What a crash leaves of these is
 * orphaned.
 * @param forgetKeys whether their Idempotency-Keys may make new ones; else they go on saying that it is gone
 */
export async function removeRecords(
  redis: Redis,
  storage: Storage,
  owned: readonly { id: string; owner: string }[],
  forgetKeys: boolean,
): Promise<void> {
  // Sent in one go: Redis writes all of it to the disk together.
  const remove = ({ id, owner }: { id: string; owner: string }) =>
    runRemove(redis, [recordKey(id)], owner, forgetKeys ? 1 : 0, ...deliveryIds(id));
  await Promise.all(owned.map(remove));
  await removeFiles(redis, storage, owned);
}

/** Removes the files of jobs that there are not, up to 1000 of them. Returns of how many. */
export async function removeOrphans(redis: Redis, storage: Storage): Promise<number> {
  const ids = await redis.zrangebyscore(ORPHANED, "-inf", await redisNow(redis), "LIMIT", 0, 1000);
  await removeFiles(
    redis,
    storage,
    ids.map((id) => ({ id })),
  );
  return ids.length;
}

/** Removes the files of jobs that there are not; later requests of an owner who is given name none of their images any more. */
export async function removeFiles(
  redis: Redis,
  storage: Storage,
  jobs: readonly { id: string; owner?: string }[],
): Promise<void> {
  if (jobs.length === 0) return;
  const removeOf = async ({ id, owner }: (typeof jobs)[number]) => {
    const given = await redis.smembers(inputsKey(id));
    if (owner !== undefined) await forgetImages(redis, owner, id, given);
    await Promise.all([
      storage.removeFolder(jobFolder(id)),
      ...given.map((hash) => storage.remove(inputKey(id, hash))),
    ]);
  };
  await Promise.all(jobs.map(removeOf));
  const ids = jobs.map(({ id }) => id);
  await redis
    .multi()
    .zrem(ORPHANED, ...ids)
    .del(...ids.map(inputsKey))
    .exec();
}

/**
 * Removes of an owner's jobs those that were made first and have ended. Returns how many there were.
 * @param most how many at most
 */
export async function removeOldest(
  redis: Redis,
  storage: Storage,
  kind: JobKind,
  owner: string,
  most: number,
): Promise<number> {
  const lists = await Promise.all(
    ENDED.map((status) => redis.zrange(ownedKey(kind, owner, status), 0, `${most - 1}`, "WITHSCORES")),
  );
  const found = lists.flatMap((list) =>
    list.flatMap((id, index) => (index % 2 === 0 ? [{ id, owner, sequence: Number(list[index + 1]) }] : [])),
  );
  const oldest = found.sort((one, other) => one.sequence - other.sequence).slice(0, most);
  await removeRecords(redis, storage, oldest, true);
  return oldest.length;
}

/** The owners of jobs; "" of one that is not there. */
export async function ownersOf(redis: Redis, ids: readonly string[]): Promise<{ id: string; owner: string }[]> {
  const owners = await Promise.all(ids.map((id) => redis.hget(recordKey(id), "owner")));
  return ids.map((id, index) => ({ id, owner: owners[index] ?? "" }));
}
