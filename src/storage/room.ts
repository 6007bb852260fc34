/** How much of a disk may be used: never all of it. */
import { statfs } from "node:fs/promises";
import { NoRoom } from "../errors.ts";

/** Stays free whatever is kept: Redis' append-only file may lie on the same disk, and Redis ends when it cannot write to it. */
export const RESERVE_BYTES = 512 * 2 ** 20;

/** Bytes on the disk that `folder` lies on. */
export async function freeBytes(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}

/** @throws {NoRoom} when so many bytes more would leave less than RESERVE_BYTES free on the disk that `folder` lies on */
export async function reserve(folder: string, bytes: number): Promise<void> {
  if ((await freeBytes(folder)) < bytes + RESERVE_BYTES) throw new NoRoom(RESERVE_BYTES);
}
