/** How much of a disk may be used: never all of it. */
import { statfs } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { NoRoom } from "../errors.ts";

/** Stays free whatever is kept: Redis' append-only file may lie on the same disk, and Redis ends when it cannot write to it. */
export const RESERVE_BYTES = 512 * 2 ** 20;

/** Bytes on the disk that `folder` lies on. */
export async function freeBytes(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}

/** Bytes that may be written to that disk beside what must stay free. */
export async function roomOf(folder: string): Promise<number> {
  return Math.max(0, (await freeBytes(folder)) - RESERVE_BYTES);
}

/** @throws {NoRoom} when so many bytes more would leave less than RESERVE_BYTES free on the disk that `folder` lies on */
export async function reserve(folder: string, bytes: number): Promise<void> {
  if ((await freeBytes(folder)) < bytes + RESERVE_BYTES) throw new NoRoom(RESERVE_BYTES);
}

/** Whether it is an error of a disk that has no room: what must not stay free, or none at all. */
export const isFull = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === "ENOSPC";

/** How often whoever waits for room looks. */
const LOOK_MS = 500;

/**
 * Waits until the disk that `folder` lies on has room again.
 * @param onFull called once, when it has none
 * @returns false when `signal` has aborted before
 */
export async function untilRoom(folder: string, signal: AbortSignal, onFull = () => {}): Promise<boolean> {
  for (let looks = 0; !signal.aborted; looks++) {
    if ((await freeBytes(folder)) >= RESERVE_BYTES) return true;
    if (looks === 0) onFull();
    await sleep(LOOK_MS, undefined, { signal, ref: false }).catch(() => {});
  }
  return false;
}
