/**
 * Images that an owner's jobs keep, by their hash: what the echo of a request names, so that it can be sent again for as long as a
 * job with that image is kept.
 */
import type { Redis } from "ioredis";
import { inputKey } from "../storage/keys.ts";
import { NotKept, type Storage } from "../storage/storage.ts";

/** Set of the ids of an owner's jobs that keep an image. */
const jobsWith = (owner: string, hash: string) => `images:${owner}:${hash}`;

/** Says that a job keeps these images. @param seconds longer than it is kept */
export async function rememberImages(
  redis: Redis,
  owner: string,
  id: string,
  hashes: readonly string[],
  seconds: number,
): Promise<void> {
  const transaction = redis.multi();
  for (const hash of hashes) transaction.sadd(jobsWith(owner, hash), id).expire(jobsWith(owner, hash), seconds);
  await transaction.exec();
}

export async function forgetImages(redis: Redis, owner: string, id: string, hashes: readonly string[]): Promise<void> {
  const transaction = redis.multi();
  for (const hash of hashes) transaction.srem(jobsWith(owner, hash), id);
  await transaction.exec();
}

/** Keeps an image under one more key that a job of the owner keeps already. Returns whether one does. @throws {NoRoom} */
export async function keepAgain(
  redis: Redis,
  storage: Storage,
  owner: string,
  hash: string,
  key: string,
): Promise<boolean> {
  const id = await redis.srandmember(jobsWith(owner, hash));
  if (id === null) return false;
  return storage.copy(inputKey(id, hash), key).then(
    () => true,
    (error) => {
      if (error instanceof NotKept) return false; // deleted meanwhile
      throw error;
    },
  );
}

/** An image's bytes; undefined when no job of the owner keeps it, or none any more. */
export async function findImage(
  redis: Redis,
  storage: Storage,
  owner: string,
  hash: string,
): Promise<Buffer | undefined> {
  for (const id of await redis.smembers(jobsWith(owner, hash))) {
    const bytes = await storage.find(inputKey(id, hash));
    if (bytes !== undefined) return bytes;
    await redis.srem(jobsWith(owner, hash), id); // deleted without a word: by a crash, or with its folder
  }
  return undefined;
}
