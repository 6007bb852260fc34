/** Files in the page cache, which decides whether a load reads memory or the disk. */
import { execFileSync } from "node:child_process";
import { closeSync, openSync, readdirSync, readSync, statSync } from "node:fs";
import { join } from "node:path";

const filesOf = (folder: string) =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isFile());

/** Reads a file, or all files under a folder, and so brings them into the page cache. @returns their bytes */
export function warm(path: string): number {
  const chunk = Buffer.alloc(1 << 24);
  let bytes = 0;
  for (const name of statSync(path).isFile() ? [path] : filesOf(path)) {
    const file = openSync(name, "r");
    for (let count = 1; count > 0; bytes += count) {
      count = readSync(file, chunk);
    }
    closeSync(file);
  }
  return bytes;
}

/** Takes all files under a folder out of the page cache, but for what a process has mapped (GNU dd, posix_fadvise). */
export function chill(folder: string): void {
  for (const file of filesOf(folder)) {
    execFileSync("dd", [`if=${file}`, "iflag=nocache", "count=0"], { stdio: "ignore" });
  }
}
