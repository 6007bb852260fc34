import { keepAgain } from "../jobs/kept-images.ts";
import { inputKey } from "../storage/keys.ts";
import type { Storage } from "../storage/storage.ts";

/** Files of one request that are written at once: a disk writes several in the time of one. */
const WRITING = 4;

/**
 * Stores a job's images by their hashes; what another job of the owner keeps is not written again.
 * @param keeping by hash, the job that does
 * @throws {NoRoom}
 */
export async function storeImages(
  storage: Storage,
  id: string,
  images: ReadonlyMap<string, Uint8Array>,
  keeping: ReadonlyMap<string, string>,
): Promise<void> {
  const storeOne = async (hash: string, bytes: Uint8Array): Promise<void> => {
    const key = inputKey(id, hash);
    const other = keeping.get(hash);
    if (other === undefined || !(await keepAgain(storage, other, hash, key))) await storage.put(key, bytes);
  };
  const all = [...images];
  for (let at = 0; at < all.length; at += WRITING) {
    const stored = await Promise.allSettled(all.slice(at, at + WRITING).map(([hash, bytes]) => storeOne(hash, bytes)));
    const failed = stored.find(({ status }) => status === "rejected"); // all have ended: none comes after the files are removed
    if (failed !== undefined) throw (failed as PromiseRejectedResult).reason;
  }
}
