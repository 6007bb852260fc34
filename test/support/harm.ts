/** What can befall a service beside a kill: a process that stands still, a file whose end is torn, a disk that is full, little memory. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freeBytes, RESERVE_BYTES } from "../../src/storage/room.ts";
import { dataFolder, temporaryFolder } from "./processes.ts";

/** Has a process stand still, as one does whose machine is suspended, and go on. */
export async function freeze(child: ChildProcess, milliseconds: number): Promise<void> {
  child.kill("SIGSTOP");
  await sleep(milliseconds);
  child.kill("SIGCONT");
}

/** Leaves half of a command behind the end of a stopped Redis' append-only file, as a power cut does of one that it has not answered for. */
export function tearTail(folder: string): void {
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" });
  const files = names.filter((name) => /\.aof$/.test(name) && !/base/.test(name)).sort();
  const last = files.at(-1);
  if (last === undefined) throw new Error(`${folder} has no append-only file`);
  appendFileSync(join(folder, last), "*3\r\n$3\r\nSET\r\n$4\r\nto");
}

export interface SmallDisk {
  folder: string;
  /** Leaves less free than the service keeps free. */
  fill(): Promise<void>;
  free(): void;
}

/** So much may be written before what must stay free is touched. */
const ROOM = 64 * 2 ** 20;

/** A disk in memory, for a DATA_DIR whose prepared networks lie elsewhere; null where none may be mounted. */
export async function smallDisk(stack: AsyncDisposableStack): Promise<SmallDisk | null> {
  const folder = await temporaryFolder(stack);
  const size = RESERVE_BYTES + ROOM;
  if (spawnSync("mount", ["-t", "tmpfs", "-o", `size=${size}`, "tmpfs", folder]).status !== 0) return null;
  // Outlives the test's process, however that ends: when its standard input closes the disk is gone.
  const cleaner = spawn("sh", ["-c", 'cat; umount -l "$1"', "sh", folder], {
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
  });
  stack.defer(async () => {
    cleaner.stdin!.end();
    await once(cleaner, "exit");
  });
  const cache = join(await dataFolder(stack), "cache");
  mkdirSync(cache, { recursive: true });
  symlinkSync(cache, join(folder, "cache"));
  const ballast = join(folder, "ballast");
  return {
    folder,
    async fill() {
      const bytes = Math.max(0, (await freeBytes(folder)) - RESERVE_BYTES) + 2 ** 20;
      writeFileSync(ballast, Buffer.alloc(bytes));
    },
    free: () => rmSync(ballast, { force: true }),
  };
}

/** Where groups are made, what bounds their memory, and a file that is there only when it is such a place: version 2 and version 1. */
const CGROUPS = [
  { root: "/sys/fs/cgroup", bound: "memory.max", mark: "cgroup.controllers" },
  { root: "/sys/fs/cgroup/memory", bound: "memory.limit_in_bytes", mark: "memory.limit_in_bytes" },
];

/** Bounds the memory of processes, together, by a cgroup of their own. Returns what to add a process with; null where none can be made. */
export function boundMemory(stack: AsyncDisposableStack, bytes: number): ((child: ChildProcess) => void) | null {
  const place = CGROUPS.find(({ root, mark }) => existsSync(join(root, mark)));
  if (place === undefined) return null;
  const group = join(place.root, `chaos-${process.pid}-${bytes}`);
  try {
    mkdirSync(group);
    stack.defer(() => rmdirSync(group)); // those in it have ended by then
    writeFileSync(join(group, place.bound), String(bytes));
    return ({ pid }) => writeFileSync(join(group, "cgroup.procs"), String(pid));
  } catch {
    return null;
  }
}
