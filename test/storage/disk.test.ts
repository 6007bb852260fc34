import assert from "node:assert/strict";
import fs, { readdir, utimes } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { basename, join } from "node:path";
import { after, type TestContext, test } from "node:test";
import { imageHash, inputKey, outputKey, Storage } from "../../src/storage/disk.ts";
import { temporaryFolder } from "../support/processes.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());
const bytes = (size: number, value: number) => new Uint8Array(size).fill(value);

test("what is put can be got, put again it is replaced, and no temporary file is left", async () => {
  const root = await temporaryFolder(stack);
  const storage = new Storage(root);
  const key = outputKey("gen_1", "0".repeat(64));
  await storage.put(key, bytes(10, 1));
  await storage.put(key, bytes(20, 2));
  assert.deepEqual(new Uint8Array(await storage.get(key)), bytes(20, 2));
  assert.deepEqual(await readdir(join(root, "tmp")), []);
});

test("what came in and was neither kept nor discarded, for its receiver died, goes after an hour", async () => {
  const root = await temporaryFolder(stack);
  const storage = new Storage(root);
  await storage.sweep(); // also before anything came
  const [left, fresh] = [await storage.receive([bytes(10, 1)]), await storage.receive([bytes(10, 2)])];
  const longAgo = Date.now() / 1000 - 3700;
  await utimes(left.path, longAgo, longAgo);
  await storage.sweep();
  assert.deepEqual(await readdir(join(root, "tmp")), [basename(fresh.path)]);
});

/** Puts a function in the place of one of Node's, for disks that cannot be had everywhere. */
function replace(t: TestContext, name: "statfs" | "link", instead: () => Promise<unknown>): void {
  const { mock } = t.mock.method(fs, name, instead as never);
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
  const storage = new Storage(root);
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
  const storage = new Storage(root);
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
  const storage = new Storage(await temporaryFolder(stack));
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

test("readers see the old bytes or the new ones, never a part", async () => {
  const storage = new Storage(await temporaryFolder(stack));
  const key = inputKey("gen_1", imageHash(bytes(1, 0)));
  const size = 4_000_000;
  await storage.put(key, bytes(size, 0));
  let writing = true;
  const written = (async () => {
    for (let value = 1; value < 10; value++) await storage.put(key, bytes(size, value));
    writing = false;
  })();
  while (writing) {
    const read = await storage.get(key);
    assert.equal(read.length, size);
    assert.equal(read[0], read[size - 1]);
  }
  await written;
});

test("what was never put is ENOENT, and a key cannot leave the folder", async () => {
  const storage = new Storage(await temporaryFolder(stack));
  await assert.rejects(storage.get(outputKey("gen_1", "0".repeat(64))), { code: "ENOENT" });
  for (const key of ["../x", "a/../../x", "/etc/passwd", "a//b", "a/.", "a/b\0", "a\\..\\b/c", "a"]) {
    await assert.rejects(storage.put(key, bytes(1, 0)), /not a storage key/, key);
    await assert.rejects(storage.get(key), /not a storage key/, key);
  }
});
