/**
 * The cache of prepared networks, DATA_DIR/cache: what the runtime makes of a graph and its weights for this CPU, written
 * once and from then on mapped into memory, which takes a tenth of the time and shares the weights with other workers.
 */
import { createHash, randomUUID } from "node:crypto";
import { type BigIntStats, readFileSync } from "node:fs";
import { mkdir, open, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { arch, cpus } from "node:os";
import { join } from "node:path";
import type { Graph } from "../../src/models/graph.ts";
import { freeBytes } from "../../src/storage/room.ts";

/** Each entry's list of its files and their sizes. Written last: a folder without it is not an entry. */
const SIZES = "sizes.json";
const TEMPORARY = "tmp-";
/** A temporary folder of this age was left behind by a process that died. */
const ABANDONED_MS = 60 * 60 * 1000;

export class PreparedCache {
  readonly #folder: string;
  readonly #warn: (message: string) => void;
  readonly #bound: number | undefined;

  /**
   * @param folder made when it is missing; any number of processes may share it
   * @param warn told, once a network, why it is not kept
   * @param bound bytes; absent = half of what the disk has for it
   */
  constructor(folder: string, warn: (message: string) => void, bound?: number) {
    this.#folder = folder;
    this.#warn = warn;
    this.#bound = bound;
  }

  /**
   * The folder that holds what `write` has written for this key, now or earlier; null when it cannot be kept.
   * Never fails for what the disk does or holds. A folder that is in use may go: what is mapped stays mapped.
   * @param bytes about what it will take
   */
  async entry(key: string, bytes: number, write: (folder: string) => Promise<void>): Promise<string | null> {
    const path = join(this.#folder, key);
    if (await isWhole(path)) {
      const now = new Date();
      await utimes(path, now, now).catch(() => {});
      return path;
    }
    const temporary = join(this.#folder, `${TEMPORARY}${randomUUID()}`);
    try {
      await mkdir(temporary, { recursive: true });
      await rm(path, { recursive: true, force: true });
      await this.#makeRoom(bytes);
      await write(temporary);
      await seal(temporary);
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { recursive: true, force: true }).catch(() => {});
      if (await isWhole(path)) {
        return path; // another process was faster
      }
      this.#warn(`prepared networks are not kept in ${this.#folder}: ${(error as Error).message}`);
      return null;
    }
    return path;
  }

  /** For an entry that cannot be used after all. */
  async remove(key: string): Promise<void> {
    await rm(join(this.#folder, key), { recursive: true, force: true });
  }

  /** Removes entries, the one used longest ago first, until `bytes` more stay within the bound. */
  async #makeRoom(bytes: number): Promise<void> {
    const entries: { path: string; bytes: number; used: number; goes: boolean }[] = [];
    for (const name of await readdir(this.#folder)) {
      const path = join(this.#folder, name);
      const used = (await stat(path)).mtimeMs;
      const goes = !name.startsWith(TEMPORARY) || used < Date.now() - ABANDONED_MS;
      entries.push({ path, bytes: await folderBytes(path), used, goes });
    }
    let total = entries.reduce((sum, entry) => sum + entry.bytes, 0);
    const bound = this.#bound ?? ((await freeBytes(this.#folder)) + total) / 2;
    if (bytes > bound) {
      throw new Error(`${bytes} bytes exceed the bound of ${Math.floor(bound)}`);
    }
    for (const entry of entries.filter(({ goes }) => goes).sort((a, b) => a.used - b.used)) {
      if (total + bytes <= bound) {
        return;
      }
      await rm(entry.path, { recursive: true, force: true });
      total -= entry.bytes;
    }
  }
}

/** Sizes are compared, contents are not: reading them would take longer than the load. */
async function isWhole(path: string): Promise<boolean> {
  try {
    const sizes: Record<string, number> = JSON.parse(await readFile(join(path, SIZES), "utf8"));
    for (const [name, size] of Object.entries(sizes)) {
      if ((await stat(join(path, name))).size !== size) {
        return false;
      }
    }
    return true;
  } catch {
    return false;
  }
}

/** Brings a folder's files to the disk, so that after a power cut an entry is there as it was, or not at all. */
async function seal(folder: string): Promise<void> {
  const sizes: Record<string, number> = {};
  for (const name of await readdir(folder)) {
    const file = await open(join(folder, name));
    sizes[name] = (await file.stat()).size;
    await file.sync().finally(() => file.close());
  }
  await writeFile(join(folder, SIZES), JSON.stringify(sizes), { flush: true });
}

async function folderBytes(folder: string): Promise<number> {
  const files = await readdir(folder).catch(() => []);
  const sizes = await Promise.all(files.map((name) => stat(join(folder, name)).then(({ size }) => size)));
  return sizes.reduce((a, b) => a + b, 0);
}

/** What decides how a graph is prepared and what weights it gets: another key is another preparation. */
export async function prepareKey({ bytes, folder, files }: Graph, runtime: string): Promise<string> {
  const hash = createHash("sha256").update(`${runtime} ${processor()}`).update(bytes);
  // The graph names its files and where in them each tensor lies; a file that it does not name does not matter.
  const named =
    files ??
    (await readdir(folder)).filter((name) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).includes(name));
  for (const name of named.toSorted()) {
    const { size, mtimeNs, ino }: BigIntStats = await stat(join(folder, name), { bigint: true });
    hash.update(JSON.stringify([folder, name, `${size} ${mtimeNs} ${ino}`]));
  }
  return hash.digest("hex").slice(0, 32);
}

/** The CPU's model and, where the system tells them, its instruction sets: packed weights are laid out for them. */
function processor(): string {
  try {
    const flags = /^flags\s*:.*$/m.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[0];
    return `${arch()} ${cpus()[0]?.model} ${flags}`;
  } catch {
    return `${arch()} ${cpus()[0]?.model}`;
  }
}
