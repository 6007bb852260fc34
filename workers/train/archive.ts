/** A dataset that came as an archive, unpacked: by strangers, so nothing in it is believed. */
import { once } from "node:events";
import { createReadStream, createWriteStream, statfsSync } from "node:fs";
import { mkdir, open, rm, stat } from "node:fs/promises";
import { dirname, join, normalize } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGunzip, type Gunzip } from "node:zlib";
import { Parser, type ReadEntry } from "tar";
import { type Entry, openPromise } from "yauzl";
import { archiveTypeOf } from "../../src/storage/archive-type.ts";
import { isFull } from "../../src/storage/room.ts";
import { DatasetError } from "../../src/training/dataset.ts";
import { requireSpace, TrainingError } from "./checkpoint.ts";

/** What an archive may unpack to. */
export interface ArchiveLimits {
  /** Folders count, those too that only a file's name has. */
  readonly entries: number;
  /** Of one file. */
  readonly fileBytes: number;
  readonly totalBytes: number;
  /** Of a tar, beside the files' content and {@link HEADERS} an entry. */
  readonly besideBytes: number;
  /** So many stay free on the disk. */
  readonly freeBytes: number;
}

/** The longest path of a file: what Linux takes, less the folder that it comes into. */
const LONGEST_PATH = 3000;
/** Folders within each other: more than any dataset has, and few enough that a name of a few bytes is not a thousand folders. */
const DEEPEST = 32;

/** How many bytes are written between two looks at what the disk has left. */
const LOOK_EVERY = 16 * 2 ** 20;
/** What a file or folder takes of the disk at least, beside its content's last block: its place in a folder, and its inode. */
const BLOCK = 4096;
/** So many files can still be made on the disk when it is done, by whoever writes there. */
const FREE_INODES = 10_000;

/** What a tar may say of an entry before its content: its header, a longer name, attributes. */
const HEADERS = 8192;

/** What writing a file fails with when its name is at fault, and not the disk. */
const BY_NAME = new Set(["EEXIST", "EISDIR", "ENOTDIR", "ENAMETOOLONG", "EINVAL"]);

/** Takes an archive's entries one after the other and writes the files among them. */
class Unpacking {
  /** What onEntry has thrown. */
  stoppedBy: unknown;
  readonly #folder: string;
  readonly #limits: ArchiveLimits;
  readonly #onEntry: () => void;
  readonly #folders = new Set<string>();
  #entries = 0;
  #bytes = 0;
  /** Of a tar, those of its headers too. */
  #read = 0;
  /** Bytes of the disk, and how many there were at the last look. */
  #taken = 0;
  #looked = 0;

  constructor(folder: string, limits: ArchiveLimits, onEntry: () => void) {
    this.#folder = folder;
    this.#limits = limits;
    this.#onEntry = onEntry;
  }

  #goOn(): void {
    try {
      this.#onEntry();
    } catch (error) {
      this.stoppedBy = error;
      throw error;
    }
  }

  /**
   * Counts bytes of a tar as they are read: some MB of gzip are GB of padding and headers.
   * @throws DatasetError when there are too many beside the files' content
   */
  read(bytes: number): void {
    this.#goOn();
    this.#read += bytes;
    const beside = this.#read - this.#bytes - this.#entries * HEADERS;
    if (beside > this.#limits.besideBytes) {
      throw new DatasetError(`the archive has more than ${this.#limits.besideBytes} bytes beside its files`);
    }
  }

  /** Counts an entry. @throws DatasetError when it is one too many, or its name leads out of the folder */
  enter(name: string): void {
    this.#goOn();
    this.#count();
    const shown = JSON.stringify(name.slice(0, 200));
    if (name.startsWith("/") || /^[a-zA-Z]:/.test(name)) throw new DatasetError(`the archive names ${shown}: absolute`);
    if (name.split(/[/\\]/).includes("..")) throw new DatasetError(`the archive names ${shown}: it holds ".."`);
    if (name.includes("\0") || name.length > LONGEST_PATH)
      throw new DatasetError(`the archive names ${shown}: no path`);
    if (normalize(name).split("/").length > DEEPEST + 1) {
      throw new DatasetError(`the archive names ${shown}: more than ${DEEPEST} folders within each other`);
    }
  }

  #count(): void {
    this.#entries += 1;
    this.#taken += BLOCK;
    if (this.#taken - this.#looked >= LOOK_EVERY) this.look(LOOK_EVERY);
    if (this.#entries > this.#limits.entries) {
      throw new DatasetError(`the archive has more than ${this.#limits.entries} entries`);
    }
  }

  /** @throws TrainingError when the disk has no room for so many bytes more */
  look(bytes: number): void {
    this.#looked = this.#taken;
    const { ffree, files } = statfsSync(this.#folder);
    if (files > 0 && ffree < FREE_INODES) {
      throw new TrainingError(`dataset: unpacking the archive: the disk has room for ${ffree} more files alone`);
    }
    requireSpace(this.#folder, "dataset: unpacking the archive", bytes, this.#limits.freeBytes);
  }

  /** Makes the folder of a file, and those that it lies in. */
  async #makeFolder(name: string): Promise<void> {
    if (name === "." || this.#folders.has(name)) return;
    await this.#makeFolder(dirname(name));
    this.#count();
    this.#folders.add(name);
    await mkdir(join(this.#folder, name), { recursive: true });
  }

  /** Bytes of the disk. */
  get taken(): number {
    return this.#taken;
  }

  async write(name: string, bytes: AsyncIterable<Buffer>): Promise<void> {
    const path = join(this.#folder, name);
    try {
      await this.#makeFolder(dirname(normalize(name)));
      await pipeline(this.#counted(name, bytes), createWriteStream(path, { flags: "wx" }));
    } catch (error) {
      if (!BY_NAME.has((error as NodeJS.ErrnoException).code ?? "")) throw error;
      throw new DatasetError(`the archive's "${name}" cannot be written: is it there twice, as file and as folder?`);
    }
  }

  async *#counted(name: string, bytes: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    let size = 0;
    const { fileBytes, totalBytes } = this.#limits;
    for await (const chunk of bytes) {
      size += chunk.length;
      this.#bytes += chunk.length;
      this.#taken += chunk.length;
      if (size > fileBytes) throw new DatasetError(`the archive's "${name}" has more than ${fileBytes} bytes`);
      if (this.#bytes > totalBytes) throw new DatasetError(`the archive unpacks to more than ${totalBytes} bytes`);
      if (this.#taken - this.#looked >= LOOK_EVERY) this.look(Math.max(LOOK_EVERY, chunk.length));
      yield chunk;
    }
  }
}

/**
 * Unpacks a zip or tar file, with or without gzip, into a folder that is made for it: files and folders alone. Returns how
 * many bytes of the disk they take.
 * @param onEntry called before each entry, and while a tar is read; what it throws stops the unpacking
 * @throws DatasetError when it is damaged, too large, or has links or names that lead elsewhere; TrainingError when the
 *   disk has no room. Whatever it throws, the folder is gone then
 */
export async function unpack(file: string, folder: string, limits: ArchiveLimits, onEntry = () => {}): Promise<number> {
  const unpacking = new Unpacking(folder, limits, onEntry);
  await mkdir(folder, { recursive: true });
  try {
    unpacking.look((await stat(file)).size); // it unpacks to that at the least
    const type = await typeOf(file);
    await (type === "zip" ? unzip(file, unpacking) : untar(file, type === "tar.gz", unpacking));
    return unpacking.taken;
  } catch (error) {
    await rm(folder, { recursive: true, force: true }).catch(() => {}); // the next attempt does it
    if (error === unpacking.stoppedBy || error instanceof DatasetError || error instanceof TrainingError) throw error;
    if (isFull(error)) throw new TrainingError("dataset: unpacking the archive: the disk is full");
    if (isSystemError(error)) throw error;
    throw new DatasetError(`the archive cannot be read: ${(error as Error).message}`, { cause: error });
  }
}

/** Whether it comes from the operating system: a full disk, say. zlib's and tar's own errors have codes too. */
const isSystemError = (error: unknown) => error instanceof Error && "syscall" in error;

async function typeOf(file: string) {
  const handle = await open(file);
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(512), 0, 512, 0);
    return archiveTypeOf(buffer.subarray(0, bytesRead));
  } finally {
    await handle.close();
  }
}

/** The type of a file in the upper half of a zip entry's external attributes, when a Unix made it (APPNOTE 4.4.2, 4.4.15). */
const UNIX = 3;
const [TYPE, REGULAR, FOLDER] = [0o170000, 0o100000, 0o040000];

async function unzip(file: string, unpacking: Unpacking): Promise<void> {
  const zip = await openPromise(file, { autoClose: false });
  try {
    for await (const entry of zip.eachEntry()) {
      unpacking.enter(entry.fileName);
      refuseSpecial(entry);
      if (!entry.fileName.endsWith("/")) {
        const bytes = await zip.openReadStreamPromise(entry);
        bytes.on("error", () => {}); // one that comes before anybody reads is met by who reads
        await unpacking.write(entry.fileName, bytes);
      }
    }
  } finally {
    zip.close();
  }
}

function refuseSpecial({ fileName, versionMadeBy, externalFileAttributes }: Entry): void {
  const type = (externalFileAttributes >>> 16) & TYPE;
  if (versionMadeBy >>> 8 === UNIX && type !== 0 && type !== REGULAR && type !== FOLDER) {
    throw new DatasetError(`the archive's "${fileName}" is a link, or no file`);
  }
}

/** Types of tar entries; pax headers and the like are the parser's affair. */
const FILES = new Set(["File", "OldFile", "ContiguousFile"]);
const FOLDERS = new Set(["Directory", "GNUDumpDir"]);

/** Types that say nothing of the dataset, and are passed over; any other that the parser passes over would be missed. */
const NO_FILES = new Set(["TapeVolumeHeader", "SolarisACL", "Inode"]);
/** What the parser would decompress by itself, without a count: gzip, Zstandard. */
const COMPRESSED = ["1f8b", "28b52ffd"];

async function untar(file: string, isGzip: boolean, unpacking: Unpacking): Promise<void> {
  const { promise: failed, reject: fail } = Promise.withResolvers<never>();
  failed.catch(() => {}); // it is raced below
  const parser = new Parser({ strict: true });
  let writing: Promise<void> = Promise.resolve();
  parser.on("error", fail);
  let isOver = false;
  parser.on("eof", () => {
    isOver = true; // it reads nothing after that, but would keep it all
  });
  parser.on("ignoredEntry", ({ path, type }: ReadEntry) => {
    if (!NO_FILES.has(type)) fail(new DatasetError(`the archive's "${path}" is of a type that is not read: ${type}`));
  });
  parser.on("entry", (entry: ReadEntry) => {
    writing = writing.then(() => take(entry));
    writing.catch(fail);
  });

  async function take(entry: ReadEntry): Promise<void> {
    unpacking.enter(entry.path);
    if (FILES.has(entry.type)) return unpacking.write(entry.path, entry);
    if (!FOLDERS.has(entry.type)) throw new DatasetError(`the archive's "${entry.path}" is a link, or no file`);
    entry.resume();
  }

  const source = createReadStream(file);
  const bytes = isGzip ? createGunzip() : source;
  if (bytes !== source) source.on("error", (error) => bytes.destroy(error)).pipe(bytes as Gunzip);
  let isFirst = true;
  try {
    for await (const chunk of bytes as AsyncIterable<Buffer>) {
      if (isFirst && COMPRESSED.some((magic) => chunk.toString("hex", 0, 4).startsWith(magic))) {
        throw new DatasetError("the archive is compressed twice");
      }
      isFirst = false;
      unpacking.read(chunk.length);
      if (isOver) continue; // what is left is padding; that of a gzip file is read for its checksum
      if (!parser.write(chunk)) await Promise.race([once(parser, "drain"), failed]);
    }
    const ended = once(parser, "end");
    parser.end();
    await Promise.race([ended, failed]);
    await Promise.race([writing, failed]);
  } finally {
    source.destroy();
    bytes.destroy();
  }
}
