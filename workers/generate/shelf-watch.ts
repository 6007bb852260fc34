/** Hears of what is put into MODELS_DIR, or taken out of it, while a worker runs. */
import { createHash } from "node:crypto";
import type { Dirent } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { stampOfFile } from "./stamp.ts";

/** Asked for instead of watched: network disks and mounts of containers tell of nothing. */
const EVERY_MS = 1000;
/** A look at many files is followed by a pause of so many times what it has taken of a processor, up to this. */
const PAUSE = 100;
const MOST_MS = 10_000;
/** Folders below MODELS_DIR; links may make them endless. */
const MOST_DEPTH = 8;

/** Adds each file below a folder, with its size and the time when it was written. */
async function note(folder: string, depth: number, files: string[]): Promise<void> {
  const entries: Dirent[] = await readdir(folder, { withFileTypes: true }).catch(() => []);
  for (const entry of entries) {
    if (entry.name.startsWith(".")) continue;
    const path = join(folder, entry.name);
    const found = entry.isDirectory() ? null : await stat(path).catch(() => null);
    if (entry.isDirectory() || found?.isDirectory()) {
      files.push(path);
      if (depth < MOST_DEPTH) await note(path, depth + 1, files);
    } else if (found !== null) {
      files.push(`${path} ${stampOfFile(found)}`);
    }
  }
}

/** Differs where any file of a folder does. */
export async function stateOf(folder: string): Promise<string> {
  const files: string[] = [];
  await note(folder, 0, files);
  return createHash("sha256").update(files.sort().join("\n")).digest("hex");
}

/**
 * Calls `onChange` for each change, once it has come to rest: a file that is being copied is not opened yet.
 * @param state that of the folder before it was read
 * @returns what ends it
 */
export function watchShelves(dir: string, state: string, onChange: () => void): AbortController {
  const stopping = new AbortController();
  const { signal } = stopping;
  const watch = async () => {
    let known = state;
    let before = known;
    let took = 0;
    while (!signal.aborted) {
      const pause = Math.min(MOST_MS, Math.max(EVERY_MS, PAUSE * took));
      await sleep(pause, undefined, { signal, ref: false });
      const began = process.threadCpuUsage();
      const now = await stateOf(dir);
      const { user, system } = process.threadCpuUsage(began);
      took = (user + system) / 1000;
      if (now === before && now !== known) {
        known = now;
        onChange();
      }
      before = now;
    }
  };
  watch().catch(() => {}); // it was stopped
  return stopping;
}
