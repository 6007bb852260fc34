/**
 * Images that an owner's jobs keep, by their hash: what the echo of a request names, so that it can be sent again for as long as a
 * job with that image is kept.
 */
import type { Redis } from "ioredis";
import { script } from "../redis/script.ts";
import { inputKey } from "../storage/keys.ts";
import { NotKept, type Storage } from "../storage/storage.ts";
import { findInput } from "./inputs.ts";
import { imageKey, inputsKey, ORPHANED } from "./keys.ts";

/** How long it may take from the first file stored to the record: after that the files are taken for orphans. */
const ACCEPTED_WITHIN_MS = 600_000;

const runExpectFiles = script(new URL("lua/expect-files.lua", import.meta.url));

/**
 * Says that files are about to be kept for a job that is not accepted yet, its images among them.
 * @returns by hash, a job of the owner that keeps this image already, where one does
 */
export async function expectFiles(
  redis: Redis,
  owner: string,
  id: string,
  hashes: readonly string[],
): Promise<Map<string, string>> {
  const keys = hashes.map((hash) => imageKey(owner, hash));
  const named = [ORPHANED, inputsKey(id), ...keys];
  const keeping = (await runExpectFiles(redis, named, id, ACCEPTED_WITHIN_MS, ...hashes)) as string[];
  return new Map(hashes.flatMap((hash, index) => (keeping[index] === "" ? [] : [[hash, keeping[index]!] as const])));
}

export async function forgetImages(redis: Redis, owner: string, id: string, hashes: readonly string[]): Promise<void> {
  const transaction = redis.multi();
  for (const hash of hashes) transaction.srem(imageKey(owner, hash), id);
  await transaction.exec();
}

/** Keeps an image under one more key that a job keeps already. Returns whether that still does. @throws {NoRoom} */
export async function keepAgain(storage: Storage, id: string, hash: string, key: string): Promise<boolean> {
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
  for (const id of await redis.smembers(imageKey(owner, hash))) {
    const bytes = await findInput(storage, id, hash);
    if (bytes !== undefined) return bytes;
    await redis.srem(imageKey(owner, hash), id); // deleted without a word: by a crash, or with its folder
  }
  return undefined;
}
