/** A storage of files in a folder, which the processes of a fleet share. */
import { createHash, randomUUID } from "node:crypto";
import {
  copyFile,
  type FileHandle,
  link,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  writeFile,
} from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Readable } from "node:stream";
import { FolderSyncs, sync } from "./folder-syncs.ts";
import { reserve } from "./room.ts";
import { HEAD, NotKept, type Received, type Storage } from "./storage.ts";

/** Far longer than any body takes to come in. */
const ABANDONED_MS = 3600_000;
/** What comes in looks at the room again whenever it has so many bytes more: others come in at the same time. */
const LOOK_BYTES = 8 * 2 ** 20;

export class DiskStorage implements Storage {
  readonly #root: string;
  readonly #received: string;
  readonly #syncs = new FolderSyncs();

  /** `root`: a folder of its own; made when it is missing. */
  constructor(root: string) {
    this.#root = root;
    this.#received = join(root, "tmp");
  }

  async put(key: string, bytes: Uint8Array): Promise<void> {
    await this.keep({ name: await this.#write([bytes], bytes.length, () => {}) }, key);
  }

  async receive(chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>, announced = 0): Promise<Received> {
    const hash = createHash("sha256");
    let [bytes, head] = [0, Buffer.alloc(0)];
    const name = await this.#write(chunks, announced, (chunk) => {
      if (head.length < HEAD) head = Buffer.concat([head, chunk.subarray(0, HEAD - head.length)]);
      hash.update(chunk);
      bytes += chunk.length;
    });
    return { name, bytes, sha256: hash.digest("hex"), head };
  }

  /** Writes what comes in to a file of its own. Returns the file's name. @throws {NoRoom} */
  async #write(
    chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    announced: number,
    see: (chunk: Uint8Array) => void,
  ): Promise<string> {
    const name = randomUUID();
    const path = join(this.#received, name);
    await mkdir(this.#received, { recursive: true });
    await reserve(this.#received, announced);
    let [bytes, looked] = [0, 0];
    try {
      const file = await open(path, "wx");
      try {
        for await (const chunk of chunks) {
          see(chunk);
          bytes += chunk.length;
          if (bytes - looked >= LOOK_BYTES) {
            await reserve(this.#received, chunk.length);
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
    return name;
  }

  async keep({ name }: Pick<Received, "name">, key: string): Promise<void> {
    const [received, path] = [join(this.#received, name), this.#path(key)];
    try {
      await intoFolder(path, () => rename(received, path));
    } catch (error) {
      await rm(received, { force: true });
      throw error;
    }
    await this.#syncs.sync(dirname(path));
  }

  async discard({ name }: Received): Promise<void> {
    await rm(join(this.#received, name), { force: true });
  }

  async sweep(): Promise<void> {
    const names = await readdir(this.#received).catch(() => []);
    if (names.length === 0) return;
    const now = await this.#now();
    for (const name of names) {
      const path = join(this.#received, name);
      const { mtimeMs = Number.POSITIVE_INFINITY } = await stat(path).catch(() => ({ mtimeMs: undefined }));
      if (mtimeMs < now - ABANDONED_MS) await rm(path, { force: true });
    }
  }

  /** By the disk's clock in ms, which the files' times are of: this process' may be another. */
  async #now(): Promise<number> {
    const path = join(this.#received, randomUUID());
    await writeFile(path, "");
    const { mtimeMs } = await stat(path).finally(() => rm(path, { force: true }));
    return mtimeMs;
  }

  async copy(from: string, to: string): Promise<void> {
    const path = this.#path(to);
    await intoFolder(path, () => this.toFile(from, path));
    await this.#syncs.sync(dirname(path));
  }

  async toFile(key: string, file: string): Promise<void> {
    const path = this.#path(key);
    await link(path, file).catch(async (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT" && !(await this.has(key))) throw new NotKept(key, { cause: error });
      if (error.code === "ENOENT" || error.code === "EEXIST") throw error; // the file's folder, or the file
      await reserve(dirname(file), (await stat(path)).size);
      await copyFile(path, file); // another disk, or one that has no links
      await sync(file);
    });
  }

  async has(key: string): Promise<boolean> {
    const there = stat(this.#path(key)).then(() => true);
    return orAbsent(there, () => false);
  }

  async get(key: string): Promise<Buffer> {
    return orAbsent(readFile(this.#path(key)), (cause) => {
      throw new NotKept(key, { cause });
    });
  }

  async find(key: string): Promise<Buffer | undefined> {
    return orAbsent<Buffer | undefined>(readFile(this.#path(key)), () => undefined);
  }

  async stream(key: string): Promise<{ bytes: number; pieces: Readable } | undefined> {
    const file = await orAbsent<FileHandle | undefined>(open(this.#path(key)), () => undefined);
    if (file === undefined) return undefined;
    const { size: bytes } = await file.stat();
    return { bytes, pieces: file.createReadStream({ end: Math.max(0, bytes - 1) }) }; // it closes the file
  }

  async remove(key: string): Promise<void> {
    await rm(this.#path(key), { force: true });
  }

  async removeFolder(folder: string): Promise<void> {
    await rm(this.#path(folder), { force: true, recursive: true });
  }

  async list(folder: string): Promise<string[]> {
    const names = await orAbsent(readdir(join(this.#root, folder)), () => []);
    return names.map((name) => `${folder}/${name}`);
  }

  #path(key: string): string {
    if (!/^[a-zA-Z0-9_][\w.-]*(\/[a-zA-Z0-9_][\w.-]*)+$/.test(key)) throw new Error(`not a storage key: ${key}`);
    return join(this.#root, key);
  }
}

/** Gives a file the name `path`; its folder is made where it turns out to be missing: most are there. */
async function intoFolder(path: string, name: () => Promise<void>): Promise<void> {
  try {
    await name();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    await mkdir(dirname(path), { recursive: true });
    await name();
  }
}

/** What `ask` gives; `absent()` when the file or folder that it asks for is not there. */
async function orAbsent<T>(ask: Promise<T>, absent: (error: Error) => T | Promise<T>): Promise<T> {
  try {
    return await ask;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return absent(error as Error);
    throw error;
  }
}
