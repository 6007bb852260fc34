import assert from "node:assert/strict";
import { readdir, utimes } from "node:fs/promises";
import { basename, join } from "node:path";
import { after, test } from "node:test";
import { imageHash, inputKey, outputKey, Storage } from "../src/storage.ts";
import { temporaryFolder } from "./service/processes.ts";

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
