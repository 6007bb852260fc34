/**
 * The one place where images and archives are kept, in and out: named bytes, here files in a folder. A fleet shares the folder, or
 * puts an object store behind the same few functions.
 */
import { createHash, randomUUID } from "node:crypto";
import { copyFile, link, mkdir, open, readdir, readFile, rename, rm, stat, statfs } from "node:fs/promises";
import { dirname, join } from "node:path";
import { NoRoom } from "../errors.ts";
import { kindOf } from "../jobs/kinds.ts";

/** Bytes that have come in and are not kept under a key yet. */
export interface Received {
  readonly path: string;
  readonly bytes: number;
  /** In hex. */
  readonly sha256: string;
  /** The first {@link HEAD} bytes, or all of them. */
  readonly head: Buffer;
}

/** Enough to tell what kind of file it is: a tar file says so at byte 257. */
const HEAD = 512;
/** Far longer than any body takes to come in. */
const ABANDONED_MS = 3600_000;
/** Stays free whatever is kept: Redis' append-only file may lie on the same disk, and Redis ends when it cannot write to it. */
export const RESERVE_BYTES = 512 * 2 ** 20;
/** What comes in looks at the room again whenever it has so many bytes more: others come in at the same time. */
const LOOK_BYTES = 8 * 2 ** 20;

export class Storage {
  readonly #root: string;
  readonly #received: string;

  /** `root`: a folder of its own; made when it is missing. */
  constructor(root: string) {
    this.#root = root;
    this.#received = join(root, "tmp");
  }

  /**
   * Keeps the bytes under the key, all of them or none: nobody ever reads a part, not even after a power cut.
   * @throws {NoRoom}
   */
  async put(key: string, bytes: Uint8Array): Promise<void> {
    await this.keep(await this.receive([bytes], bytes.length), key);
  }

  /**
   * Takes in what may be too large for the memory. Someone must {@link keep} or {@link discard} it.
   * @param announced how many bytes are to come; 0 = nobody knows
   * @throws {NoRoom} before the first chunk when there is none for what is announced; later when it is used up
   */
  async receive(chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>, announced = 0): Promise<Received> {
    const path = join(this.#received, randomUUID());
    await mkdir(this.#received, { recursive: true });
    await requireRoom(this.#received, announced);
    const hash = createHash("sha256");
    let [bytes, looked, head] = [0, 0, Buffer.alloc(0)];
    try {
      const file = await open(path, "wx");
      try {
        for await (const chunk of chunks) {
          if (head.length < HEAD) head = Buffer.concat([head, chunk.subarray(0, HEAD - head.length)]);
          hash.update(chunk);
          bytes += chunk.length;
          if (bytes - looked >= LOOK_BYTES) {
            await requireRoom(this.#received, chunk.length);
            looked = bytes;
          }
          await file.writeFile(chunk);
        }
        await file.sync();
      } finally {
        await file.close();
      }
    } catch (error) {
      await rm(path, { force: true });
      throw error;
    }
    return { path, bytes, sha256: hash.digest("hex"), head };
  }

  /** Keeps what was received under the key, for good: its name survives a power cut. */
  async keep({ path: received }: Received, key: string): Promise<void> {
    const path = this.#path(key);
    await mkdir(dirname(path), { recursive: true });
    try {
      await rename(received, path);
    } catch (error) {
      await rm(received, { force: true });
      throw error;
    }
    const folder = await open(dirname(path)); // the new name is durable only when its folder is
    await folder.sync().finally(() => folder.close());
  }

  async discard({ path }: Received): Promise<void> {
    await rm(path, { force: true });
  }

  /** Removes what came in so long ago that whoever received it must have died before it was kept or discarded. */
  async sweep(): Promise<void> {
    for (const name of await readdir(this.#received).catch(() => [])) {
      const path = join(this.#received, name);
      const { mtimeMs = Number.POSITIVE_INFINITY } = await stat(path).catch(() => ({ mtimeMs: undefined }));
      if (mtimeMs < Date.now() - ABANDONED_MS) await rm(path, { force: true });
    }
  }

  /** Keeps the same under a second key. @throws an error with `code: "ENOENT"` when nothing is kept under the first, or {NoRoom} */
  async copy(from: string, to: string): Promise<void> {
    await mkdir(dirname(this.#path(to)), { recursive: true });
    await this.fetch(from, this.#path(to));
  }

  /** Brings what is kept under the key to a file; not to be written to, for it may be the very same. */
  async fetch(key: string, file: string): Promise<void> {
    const path = this.#path(key);
    await link(path, file).catch(async (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT" || error.code === "EEXIST") throw error;
      await requireRoom(dirname(file), (await stat(path)).size);
      await copyFile(path, file); // another disk, or one that has no links
    });
  }

  /** Whether anything is kept under the key. */
  async has(key: string): Promise<boolean> {
    return stat(this.#path(key)).then(
      () => true,
      (error: NodeJS.ErrnoException) => {
        if (error.code === "ENOENT") return false;
        throw error;
      },
    );
  }

  /** @throws an error with `code: "ENOENT"` when nothing is kept under the key. */
  async get(key: string): Promise<Buffer> {
    return readFile(this.#path(key));
  }

  /** What is kept under the key; undefined when nothing is. */
  async find(key: string): Promise<Buffer | undefined> {
    try {
      return await this.get(key);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error;
    }
  }

  /** Forgets the key; nothing happens when nothing is kept under it. */
  async remove(key: string): Promise<void> {
    await rm(this.#path(key), { force: true });
  }

  /** Forgets every key of the form `folder/…`. */
  async removeFolder(folder: string): Promise<void> {
    await rm(this.#path(folder), { force: true, recursive: true });
  }

  /** Every key of the form `folder/name`. */
  async list(folder: string): Promise<string[]> {
    try {
      return (await readdir(join(this.#root, folder))).map((name) => `${folder}/${name}`);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
      throw error;
    }
  }

  #path(key: string): string {
    if (!/^[a-zA-Z0-9_][\w.-]*(\/[a-zA-Z0-9_][\w.-]*)+$/.test(key)) throw new Error(`not a storage key: ${key}`);
    return join(this.#root, key);
  }
}

/** @throws {NoRoom} when so many bytes more would leave less than RESERVE_BYTES free on the disk that `folder` lies on */
async function requireRoom(folder: string, bytes: number): Promise<void> {
  if ((await freeBytes(folder)) < bytes + RESERVE_BYTES) throw new NoRoom(RESERVE_BYTES);
}

/** On the disk that `folder` lies on. */
export async function freeBytes(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}

/** The name of an image in the echo of a request. */
export function imageHash(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/** The folder of a generation's images, in and out, or of what a training was given and shows. */
export function jobFolder(id: string): string {
  return `${kindOf(id).name}s/${id}`;
}

/** Where a control image lies; `hash` as made by {@link imageHash}. */
export function inputKey(id: string, hash: string): string {
  return `${jobFolder(id)}/input-${hash.slice("sha256:".length)}`;
}

/**
 * Where a generation's picture lies; `sha256` of its bytes, in hex. By content, so that a worker that was thought dead
 * cannot put another provider's picture in the place of the one that counts.
 */
export function outputKey(id: string, sha256: string): string {
  return `${jobFolder(id)}/image-${sha256}`;
}

/** Where a training's dataset lies, when it is an archive. */
export const datasetKey = (id: string) => `${jobFolder(id)}/dataset`;
/** Where a training's curve lies, when there is one. */
export const lossKey = (id: string, type: "csv" | "png") => `${jobFolder(id)}/loss.${type}`;
/** Where a training's picture number `index` of a step lies. */
export const validationKey = (id: string, step: number, index: number) =>
  `${jobFolder(id)}/validation-${step}-${index}`;
