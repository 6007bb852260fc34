import { keepAgain } from "../jobs/kept-images.ts";
import { inputKey } from "../storage/keys.ts";
import type { Service } from "./parts.ts";

/** Stores a job's images by their hashes; what another job of the owner keeps is not written again. @throws {NoRoom} */
export async function storeImages(
  { queue, storage }: Pick<Service, "queue" | "storage">,
  owner: string,
  id: string,
  images: Iterable<readonly [hash: string, bytes: Uint8Array]>,
): Promise<void> {
  for (const [hash, bytes] of images) {
    const key = inputKey(id, hash);
    if (await storage.has(key)) continue; // named twice
    if (!(await queue.ask((redis) => keepAgain(redis, storage, owner, hash, key)))) await storage.put(key, bytes);
  }
}
