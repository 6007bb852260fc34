/** What a storage does that is a folder on a disk, which can be full, and what it leaves in the folder. */
import assert from "node:assert/strict";
import callbacks from "node:fs";
import fs, { readdir, utimes } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { join } from "node:path";
import { after, type TestContext, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { DiskStorage } from "../../src/storage/disk.ts";
import { FolderSyncs } from "../../src/storage/folder-syncs.ts";
import { outputKey } from "../../src/storage/keys.ts";
import { temporaryFolder } from "../support/processes.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());
const bytes = (size: number, value: number) => new Uint8Array(size).fill(value);

test("what is put leaves no temporary file", async () => {
  const root = await temporaryFolder(stack);
  const storage = new DiskStorage(root);
  const key = outputKey("gen_1", "0".repeat(64));
  await storage.put(key, bytes(10, 1));
  await storage.put(key, bytes(20, 2));
  assert.deepEqual(await readdir(join(root, "tmp")), []);
});

test("what came in and was neither kept nor discarded, for its receiver died, goes after an hour", async () => {
  const root = await temporaryFolder(stack);
  const storage = new DiskStorage(root);
  await storage.sweep(); // also before anything came
  const [left, fresh] = [await storage.receive([bytes(10, 1)]), await storage.receive([bytes(10, 2)])];
  const longAgo = Date.now() / 1000 - 3700;
  await utimes(join(root, "tmp", left.name), longAgo, longAgo);
  await storage.sweep();
  assert.deepEqual(await readdir(join(root, "tmp")), [fresh.name]);
});

/** Puts a function in the place of one of Node's, for disks that cannot be had everywhere. */
function replace(t: TestContext, name: "statfs" | "link", instead: (...words: never[]) => Promise<unknown>): void {
  inPlaceOf(t, t.mock.method(fs, name, instead as never));
}

function inPlaceOf(t: TestContext, { mock }: { mock: { restore(): void } }): void {
  syncBuiltinESMExports();
  t.after(() => {
    mock.restore();
    syncBuiltinESMExports();
  });
}

/** A disk on which so many bytes may be written beside the 512 MiB that stay free. */
function diskWith(t: TestContext, room: number) {
  const disk = { room };
  replace(t, "statfs", async () => ({ bavail: 2 ** 19 + disk.room / 1024, bsize: 1024 }));
  return disk;
}

const NO_ROOM = { name: "NotReady", code: "ENOSPC", message: /no room .* 512 MiB/ };

test("what would use of the 512 MiB that stay free is refused before a byte of it is taken, and leaves nothing", async (t) => {
  const root = await temporaryFolder(stack);
  const storage = new DiskStorage(root);
  diskWith(t, 2048);
  const never = { [Symbol.iterator]: () => assert.fail("a byte was taken") };
  await assert.rejects(storage.receive(never, 2049), NO_ROOM);
  const key = outputKey("gen_1", "0".repeat(64));
  await assert.rejects(storage.put(key, bytes(2049, 1)), NO_ROOM);
  assert.equal(await storage.has(key), false);
  await storage.put(key, bytes(2048, 1));
  assert.deepEqual(await readdir(join(root, "tmp")), []);
});

test("what comes in while others use up the room is stopped, whatever was announced, and leaves nothing", async (t) => {
  const root = await temporaryFolder(stack);
  const storage = new DiskStorage(root);
  const megabyte = bytes(2 ** 20, 1);
  const disk = diskWith(t, 0);
  for (const announced of [0, 1000 * 2 ** 20]) {
    let taken = 0;
    disk.room = 1000 * 2 ** 20;
    const chunks = function* () {
      for (; taken < 60; taken++) {
        if (taken === 20) disk.room = 0;
        yield megabyte;
      }
    };
    await assert.rejects(storage.receive(chunks(), announced), NO_ROOM);
    assert.ok(taken < 40, `${taken} MiB were taken`);
    assert.deepEqual(await readdir(join(root, "tmp")), []);
  }
});

test("where the same bytes cannot have a second name, a copy needs room too", async (t) => {
  const storage = new DiskStorage(await temporaryFolder(stack));
  const noLinks = Object.assign(new Error("EPERM: operation not permitted, link"), { code: "EPERM" });
  replace(t, "link", () => Promise.reject(noLinks));
  const disk = diskWith(t, 1000);
  await storage.put("archives/a", bytes(1000, 1));
  await storage.copy("archives/a", "trainings/b");
  assert.deepEqual(new Uint8Array(await storage.get("trainings/b")), bytes(1000, 1));
  disk.room = 999;
  await assert.rejects(storage.copy("archives/a", "trainings/c"), NO_ROOM);
  assert.equal(await storage.has("trainings/c"), false);
});

test("names in a folder are made durable together: by a writing that began after the last of them was asked for", async (t) => {
  const written: PromiseWithResolvers<void>[] = [];
  const fsync = (_file: number, done: (error: Error | null) => void) => {
    written.push(Promise.withResolvers<void>());
    written.at(-1)!.promise.then(() => done(null), done);
  };
  const open = (_path: string, done: (error: null, file: number) => void) => done(null, -1);
  for (const [name, instead] of Object.entries({ open, fsync, closeSync: () => {} })) {
    inPlaceOf(t, t.mock.method(callbacks, name as "fsync", instead as never));
  }
  const syncs = new FolderSyncs();
  const durable: string[] = [];
  const ask = (name: string) => syncs.sync("folder").then(() => durable.push(name));
  const first = ask("a");
  const later = ["b", "c", "d"].map(ask);
  await setImmediate();
  assert.equal(written.length, 1);
  written[0]!.resolve();
  await first;
  await setImmediate();
  assert.deepEqual([durable, written.length], [["a"], 2]);
  written[1]!.resolve();
  await Promise.all(later);
  assert.deepEqual([durable, written.length], [["a", "b", "c", "d"], 2]);
  const failing = ask("e");
  const after = ask("f");
  await setImmediate();
  written[2]!.reject(new Error("EIO"));
  await assert.rejects(failing, /EIO/);
  await setImmediate();
  written[3]!.resolve(); // those who asked meanwhile are none the worse
  await after;
});
