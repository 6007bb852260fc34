import { createHash } from "node:crypto";
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname } from "node:path";
import { requireSpace, waitForSpace } from "./checkpoint.ts";

/** Float32 rows of one size in a file: what the locked networks make of a dataset, computed once. */
export class RowFile {
  readonly #file: number;
  readonly #size: number;

  private constructor(file: number, size: number) {
    this.#file = file;
    this.#size = size;
  }

  /**
   * Opens `path`, or makes it first, row by row; a file that is there is whole.
   * @throws TrainingError when the disk has no room for it, NoRoom when others have taken it since
   */
  static async open(path: string, count: number, size: number, make: (index: number) => Promise<Float32Array>) {
    if (!existsSync(path)) {
      const folder = dirname(path);
      mkdirSync(folder, { recursive: true });
      const file = openSync(`${path}.part`, "w");
      try {
        for (let i = 0; i < count; i++) {
          const left = (count - i) * size * Float32Array.BYTES_PER_ELEMENT;
          if (i === 0) requireSpace(folder, "dataset: what the base makes of its pictures and prompts", left);
          else waitForSpace(folder, left);
          const { buffer, byteOffset, byteLength } = await make(i);
          writeFileSync(file, new Uint8Array(buffer, byteOffset, byteLength)); // whole: a disk that fills up takes a part first
        }
        fsyncSync(file);
        renameSync(`${path}.part`, path);
      } finally {
        closeSync(file);
        rmSync(`${path}.part`, { force: true });
      }
    }
    return new RowFile(openSync(path, "r"), size);
  }

  get(index: number): Float32Array {
    const row = new Float32Array(this.#size);
    const bytes = new Uint8Array(row.buffer);
    if (readSync(this.#file, bytes, 0, bytes.length, index * bytes.length) !== bytes.length) {
      throw new Error(`a cache of the training ends before row ${index}`);
    }
    return row;
  }
}

/** A name that changes with the files' sizes and times and with everything else that made a cache what it is. */
export function cacheName(files: readonly string[], ...rest: readonly unknown[]): string {
  const stamps = files.map((file) => {
    const { size, mtimeMs } = statSync(file);
    return [file, size, mtimeMs];
  });
  return createHash("sha256")
    .update(JSON.stringify([stamps, rest]))
    .digest("hex")
    .slice(0, 16);
}
