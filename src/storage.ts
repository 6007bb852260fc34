/**
 * The one place where images are kept, in and out: named bytes, here files in a folder. A fleet shares the folder, or
 * puts an object store behind the same few functions.
 */
import { createHash, randomUUID } from "node:crypto";
import { mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";

export class Storage {
  readonly #root: string;

  /** `root`: a folder of its own; made when it is missing. */
  constructor(root: string) {
    this.#root = root;
  }

  /** Keeps the bytes under the key, all of them or none: nobody ever reads a part, not even after a power cut. */
  async put(key: string, bytes: Uint8Array): Promise<void> {
    const path = this.#path(key);
    const temporary = join(this.#root, "tmp", randomUUID());
    await mkdir(dirname(temporary), { recursive: true });
    await mkdir(dirname(path), { recursive: true });
    try {
      const file = await open(temporary, "wx");
      try {
        await file.writeFile(bytes);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
    const folder = await open(dirname(path)); // the new name is durable only when its folder is
    await folder.sync().finally(() => folder.close());
  }

  /** @throws an error with `code: "ENOENT"` when nothing is kept under the key. */
  async get(key: string): Promise<Buffer> {
    return readFile(this.#path(key));
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

/** The name of an image in the echo of a request. */
export function imageHash(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/** The folder of a generation's images, in and out. */
export function generationFolder(id: string): string {
  return `generations/${id}`;
}

/** Where a generation's control image lies; `hash` as made by {@link imageHash}. */
export function inputKey(id: string, hash: string): string {
  return `${generationFolder(id)}/input-${hash.slice("sha256:".length)}`;
}

/**
 * Where a generation's picture lies; `sha256` of its bytes, in hex. By content, so that a worker that was thought dead
 * cannot put another provider's picture in the place of the one that counts.
 */
export function outputKey(id: string, sha256: string): string {
  return `${generationFolder(id)}/image-${sha256}`;
}
