/**
 * Uploads: images, and archives to train on, that a client sends once and names in requests for a while. The storage
 * holds all there is to know: an upload's id says when it expires, and its key whose and of which kind it is. A job keeps a
 * copy of its own, so that nothing that has been accepted depends on an upload any more.
 */
import { createHash, randomBytes } from "node:crypto";
import type { Config } from "../config/config.ts";
import type { Received, Storage } from "./storage.ts";

const IMAGES = "uploads";
const ARCHIVES = "archives";
/** What is known of each beside its bytes, as JSON. */
const FACTS = "upload-facts";

/** What is said of an upload's content. */
export interface UploadFacts {
  readonly bytes: number;
  /** Pixels, upright; null = an archive. */
  readonly width: number | null;
  readonly height: number | null;
  readonly sha256: string;
}

/** What is known of a new upload. */
export interface Uploaded {
  id: string;
  createdAt: Date;
  expiresAt: Date;
}

/** What uploads are counted by, and the clock that they expire by. */
export interface Ledger {
  /** ms, by one clock for all processes of a fleet. */
  now(): Promise<number>;
  /** Counts so many bytes as the owner's until `expires` (ms); an id that is counted already anew. @throws {Refused} when it is too much */
  take(owner: string, id: string, bytes: number, expires: number): Promise<void>;
  giveBack(owner: string, id: string): Promise<void>;
}

/** What a disk gives a file: whole blocks, and one for the facts. */
const BLOCK = 4096;
const onDisk = (bytes: number) => BLOCK * (Math.ceil(bytes / BLOCK) + 1);

/** For so long at most something is on its way: a process that has died does not say that it is not. */
const ARRIVING_MS = 3600_000;

/** The moment of expiry in ms, then 128 random bits. */
const ID = /^upl_([0-9a-f]{12})[0-9a-f]{32}$/;

export class Uploads {
  readonly #storage: Storage;
  readonly #ttlMs: number;
  readonly #ledger: Ledger;

  constructor(storage: Storage, { UPLOAD_TTL }: Pick<Config, "UPLOAD_TTL">, ledger: Ledger) {
    this.#storage = storage;
    this.#ttlMs = UPLOAD_TTL * 1000;
    this.#ledger = ledger;
  }

  /** Keeps an image for its owner, for UPLOAD_TTL. @throws {Refused} when the owner has too much */
  put(owner: string, bytes: Uint8Array, facts: UploadFacts): Promise<Uploaded> {
    return this.#keep(owner, facts, (id) => this.#storage.put(keyOf(IMAGES, owner, id), bytes));
  }

  /** Keeps an archive for its owner, for UPLOAD_TTL. @throws {Refused} when the owner has too much */
  putArchive(owner: string, received: Received, facts: UploadFacts): Promise<Uploaded> {
    return this.#keep(owner, facts, (id) => this.#storage.keep(received, keyOf(ARCHIVES, owner, id)));
  }

  /** Counts what is on its way as the owner's, until it is disposed of. @throws {Refused} when the owner has too much */
  async expect(owner: string, bytes: number): Promise<AsyncDisposable> {
    const id = `on its way ${randomBytes(8).toString("hex")}`;
    await this.#ledger.take(owner, id, onDisk(bytes), (await this.#ledger.now()) + ARRIVING_MS);
    return { [Symbol.asyncDispose]: () => this.#ledger.giveBack(owner, id) };
  }

  async #keep(owner: string, facts: UploadFacts, store: (id: string) => Promise<void>): Promise<Uploaded> {
    const uploaded = await this.#create();
    const { id, createdAt, expiresAt } = uploaded;
    await this.#ledger.take(owner, id, onDisk(facts.bytes), expiresAt.getTime());
    try {
      await this.#storage.put(keyOf(FACTS, owner, id), Buffer.from(JSON.stringify({ ...facts, createdAt })));
      await store(id);
    } catch (error) {
      await this.#ledger.giveBack(owner, id).catch(() => {}); // it is forgotten when it would have expired
      throw error;
    }
    return uploaded;
  }

  /** What is known of an upload; undefined when the owner has no such upload, or has it no more. */
  async describe(owner: string, id: string): Promise<(Uploaded & UploadFacts) | undefined> {
    if (!(await this.#isValid(id))) return undefined;
    const [facts, ...kept] = await Promise.all([
      this.#storage.find(keyOf(FACTS, owner, id)),
      ...[IMAGES, ARCHIVES].map((folder) => this.#storage.has(keyOf(folder, owner, id))),
    ]);
    if (facts === undefined || !kept.includes(true)) return undefined;
    const told = JSON.parse(facts.toString()) as UploadFacts & { createdAt: string };
    return { ...told, id, createdAt: new Date(told.createdAt), expiresAt: new Date(expiryOf(id)) };
  }

  /** Forgets an upload; jobs keep their copies. Returns whether there was one. */
  async remove(owner: string, id: string): Promise<boolean> {
    if ((await this.describe(owner, id)) === undefined) return false;
    for (const folder of [IMAGES, ARCHIVES, FACTS]) await this.#storage.remove(keyOf(folder, owner, id));
    await this.#ledger.giveBack(owner, id);
    return true;
  }

  async #isValid(id: string): Promise<boolean> {
    return ID.test(id) && expiryOf(id) > (await this.#ledger.now());
  }

  async #create(): Promise<Uploaded> {
    const createdAt = new Date(await this.#ledger.now());
    const expiresAt = new Date(createdAt.getTime() + this.#ttlMs);
    const expiry = expiresAt.getTime().toString(16).padStart(12, "0");
    const id = `upl_${expiry}${randomBytes(16).toString("hex")}`;
    return { id, createdAt, expiresAt };
  }

  /** An image; undefined when the owner has no such upload, or has it no more. */
  async get(owner: string, id: string): Promise<Buffer | undefined> {
    if (!(await this.#isValid(id))) return undefined;
    return this.#storage.find(keyOf(IMAGES, owner, id));
  }

  /** Where an archive lies; undefined when the owner has no such upload, or has it no more. */
  async archive(owner: string, id: string): Promise<string | undefined> {
    if (!(await this.#isValid(id))) return undefined;
    const key = keyOf(ARCHIVES, owner, id);
    return (await this.#storage.has(key)) ? key : undefined;
  }

  /** Removes what has expired, and what a killed gateway has left half-received. Any number of processes may do this at once. */
  async sweep(): Promise<void> {
    const now = await this.#ledger.now();
    for (const folder of [IMAGES, ARCHIVES, FACTS]) {
      for (const key of await this.#storage.list(folder)) {
        const [id = ""] = key.slice(folder.length + 1).split("-");
        if (expiryOf(id) <= now) await this.#storage.remove(key);
      }
    }
    await this.#storage.sweep();
  }
}

/** The owner's name can be anything; its hash fits a key. */
function keyOf(folder: string, owner: string, id: string): string {
  return `${folder}/${id}-${createHash("sha256").update(owner).digest("hex").slice(0, 32)}`;
}

/** In ms; 0 of what is no id. */
const expiryOf = (id: string) => Number.parseInt(ID.exec(id)?.[1] ?? "0", 16);
