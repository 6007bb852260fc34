/** The images that a job was given, from its acceptance until it is removed. */
import { earlierInputKey, inputKey } from "../storage/keys.ts";
import type { Storage } from "../storage/storage.ts";

/** An image's bytes by its hash; undefined when the job does not keep it. */
export const findInput = async (storage: Storage, id: string, hash: string): Promise<Buffer | undefined> =>
  (await storage.find(inputKey(id, hash))) ?? storage.find(earlierInputKey(id, hash));

/** An image's bytes by its hash. @throws {NotKept} */
export const inputBytes = async (storage: Storage, id: string, hash: string): Promise<Buffer> =>
  (await findInput(storage, id, hash)) ?? storage.get(inputKey(id, hash));
