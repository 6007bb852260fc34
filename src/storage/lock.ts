/** A lock on a folder that the kernel frees when its process ends, however it does: SQLite's, which is one of fcntl. */
import { join } from "node:path";

const BUSY = 5; // SQLITE_BUSY

/** Takes the lock until this process ends. Returns whether nobody else has it. */
export async function lock(folder: string): Promise<boolean> {
  const { emitWarning } = process;
  process.emitWarning = () => {}; // it is called experimental
  const { DatabaseSync } = await import("node:sqlite").finally(() => {
    process.emitWarning = emitWarning;
  });
  const held = new DatabaseSync(join(folder, "lock"));
  try {
    held.exec("PRAGMA busy_timeout = 0; PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE");
  } catch (error) {
    if ((error as { errcode?: number }).errcode === BUSY) return false;
    throw error;
  }
  locks.push(held);
  return true;
}

/** What is collected as garbage is closed, and no lock any more. */
const locks: unknown[] = [];
