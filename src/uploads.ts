/**
 * Uploads: images that a client sends once and names in requests for a while. The storage holds all there is to know: an
 * upload's id says when it expires, and its key whose it is. A generation keeps a copy of its own, so that nothing that
 * has been accepted depends on an upload any more.
 */
import { createHash, randomBytes } from "node:crypto";
import type { Config } from "./config.ts";
import type { Storage } from "./storage.ts";

const FOLDER = "uploads";
/** The moment of expiry in ms, then 128 random bits. */
const ID = /^upl_([0-9a-f]{12})[0-9a-f]{32}$/;

export class Uploads {
  readonly #storage: Storage;
  readonly #ttlMs: number;

  constructor(storage: Storage, { UPLOAD_TTL }: Pick<Config, "UPLOAD_TTL">) {
    this.#storage = storage;
    this.#ttlMs = UPLOAD_TTL * 1000;
  }

  /** Keeps an image for its owner, for UPLOAD_TTL. */
  async put(owner: string, bytes: Uint8Array): Promise<{ id: string; createdAt: Date; expiresAt: Date }> {
    const createdAt = new Date();
    const expiresAt = new Date(createdAt.getTime() + this.#ttlMs);
    const expiry = expiresAt.getTime().toString(16).padStart(12, "0");
    const id = `upl_${expiry}${randomBytes(16).toString("hex")}`;
    await this.#storage.put(keyOf(owner, id), bytes);
    return { id, createdAt, expiresAt };
  }

  /** undefined when the owner has no such upload, or has it no more. */
  async get(owner: string, id: string): Promise<Buffer | undefined> {
    if (!ID.test(id) || hasExpired(id)) return undefined;
    try {
      return await this.#storage.get(keyOf(owner, id));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error;
    }
  }

  /** Removes what has expired. Any number of processes may do this at once. */
  async sweep(): Promise<void> {
    for (const key of await this.#storage.list(FOLDER)) {
      const [id = ""] = key.slice(FOLDER.length + 1).split("-");
      if (hasExpired(id)) await this.#storage.remove(key);
    }
  }
}

/** The owner's name can be anything; its hash fits a key. */
function keyOf(owner: string, id: string): string {
  return `${FOLDER}/${id}-${createHash("sha256").update(owner).digest("hex").slice(0, 32)}`;
}

function hasExpired(id: string): boolean {
  return Number.parseInt(ID.exec(id)?.[1] ?? "0", 16) <= Date.now();
}
