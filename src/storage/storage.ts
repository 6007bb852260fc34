/**
 * Where images and archives are kept, in and out: bytes under keys of the form `folder/…/name`. Every process of the service sees the
 * same ones. src/storage/open.ts says which implementation an installation has.
 */

import type { Readable } from "node:stream";

/** Bytes that have come in and are not kept under a key yet. */
export interface Received {
  /** The storage's own name for them. */
  readonly name: string;
  readonly bytes: number;
  /** In hex. */
  readonly sha256: string;
  /** The first {@link HEAD} bytes, or all of them. */
  readonly head: Buffer;
}

/** Enough to tell what kind of file it is: a tar file says so at byte 257. */
export const HEAD = 512;

/** Nothing is kept under the key. */
export class NotKept extends Error {
  override readonly name = "NotKept";
  readonly key: string;

  constructor(key: string, options?: ErrorOptions) {
    super(`nothing is kept under ${key}`, options);
    this.key = key;
  }
}

export interface Storage {
  /**
   * Keeps the bytes under the key, all of them or none: nobody ever reads a part, not even after a power cut.
   * @throws {NoRoom}
   */
  put(key: string, bytes: Uint8Array): Promise<void>;

  /**
   * Takes in what may be too large for the memory. Someone must {@link keep} or {@link discard} it.
   * @param announced how many bytes are to come; 0 = nobody knows
   * @throws {NoRoom} before the first chunk when there is none for what is announced; later when it is used up
   */
  receive(chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>, announced?: number): Promise<Received>;

  /** Keeps what was received under the key, for good: its name survives a power cut. */
  keep(received: Received, key: string): Promise<void>;

  /** Forgets what was received; nothing happens when it was kept. */
  discard(received: Received): Promise<void>;

  /** Removes what came in so long ago that whoever received it must have died before it was kept or discarded. */
  sweep(): Promise<void>;

  /** Keeps the same under a second key, for good. @throws {NotKept | NoRoom} */
  copy(from: string, to: string): Promise<void>;

  /** Brings what is kept under the key to a file; not to be written to, for it may be the very same. @throws {NotKept | NoRoom} */
  toFile(key: string, file: string): Promise<void>;

  /** Whether anything is kept under the key. */
  has(key: string): Promise<boolean>;

  /** What is kept under the key. @throws {NotKept} */
  get(key: string): Promise<Buffer>;

  /** What is kept under the key; undefined when nothing is. */
  find(key: string): Promise<Buffer | undefined>;

  /** The same piece by piece, for what may be too large for the memory; whoever asks must read it or destroy it. */
  stream(key: string): Promise<{ bytes: number; pieces: Readable } | undefined>;

  /** Forgets the key; nothing happens when nothing is kept under it. */
  remove(key: string): Promise<void>;

  /** Forgets every key of the form `folder/…`. */
  removeFolder(folder: string): Promise<void>;

  /** Every key of the form `folder/name`. */
  list(folder: string): Promise<string[]>;
}
