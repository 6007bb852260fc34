/** What the service relies on, whatever storage the configuration gives it. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { imageHash, inputKey, outputKey } from "../../src/storage/keys.ts";
import { openStorage } from "../../src/storage/open.ts";
import { HEAD } from "../../src/storage/storage.ts";
import { temporaryFolder } from "../support/processes.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());
const bytes = (size: number, value: number) => new Uint8Array(size).fill(value);
const KEY = outputKey("gen_1", "0".repeat(64));

const open = async () => openStorage({ DATA_DIR: await temporaryFolder(stack) });

test("what is put can be got and found, and put again it is replaced", async () => {
  const storage = await open();
  await storage.put(KEY, bytes(10, 1));
  await storage.put(KEY, bytes(20, 2));
  assert.deepEqual(new Uint8Array(await storage.get(KEY)), bytes(20, 2));
  assert.deepEqual(await storage.find(KEY), await storage.get(KEY));
  assert.equal(await storage.has(KEY), true);
});

test("another process of the same configuration sees the same", async () => {
  const DATA_DIR = await temporaryFolder(stack);
  await openStorage({ DATA_DIR }).put(KEY, bytes(10, 1));
  assert.deepEqual(new Uint8Array(await openStorage({ DATA_DIR }).get(KEY)), bytes(10, 1));
});

test("readers see the old bytes or the new ones, never a part", async () => {
  const storage = await open();
  const key = inputKey("gen_1", await imageHash(bytes(1, 0)));
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

test("what comes in is told by its size, hash and first bytes, and kept under a key or discarded", async () => {
  const storage = await open();
  const chunks = [bytes(HEAD - 1, 1), bytes(1000, 2)];
  const received = await storage.receive(chunks);
  assert.equal(received.bytes, HEAD + 999);
  assert.equal(`sha256:${received.sha256}`, await imageHash(Buffer.concat(chunks)));
  assert.deepEqual(received.head, Buffer.concat(chunks).subarray(0, HEAD));
  assert.equal(await storage.has(KEY), false);
  await storage.keep(received, KEY);
  await storage.discard(received); // nothing to do any more
  assert.deepEqual(await storage.get(KEY), Buffer.concat(chunks));

  const unwanted = await storage.receive([bytes(10, 3)], 10);
  await storage.discard(unwanted);
  await assert.rejects(storage.keep(unwanted, outputKey("gen_1", "1".repeat(64))));
});

test("what is copied stays when the first is removed, and comes to a file", async () => {
  const storage = await open();
  await storage.put("archives/a", bytes(10, 1));
  await storage.copy("archives/a", "trainings/trn_1/dataset");
  await storage.remove("archives/a");
  assert.equal(await storage.find("archives/a"), undefined);
  const file = join(await temporaryFolder(stack), "archive");
  await storage.toFile("trainings/trn_1/dataset", file);
  assert.deepEqual(new Uint8Array(await readFile(file)), bytes(10, 1));
  await assert.rejects(storage.toFile("trainings/trn_1/dataset", join(file, "of/no/folder")), {
    name: "Error",
  });
});

test("what was never put is not kept, by name, and to remove it is no error", async () => {
  const storage = await open();
  const file = join(await temporaryFolder(stack), "archive");
  const notKept = { name: "NotKept", key: KEY, message: `nothing is kept under ${KEY}` };
  await assert.rejects(storage.get(KEY), notKept);
  await assert.rejects(storage.copy(KEY, "trainings/a"), notKept);
  await assert.rejects(storage.toFile(KEY, file), notKept);
  assert.equal(await storage.find(KEY), undefined);
  assert.equal(await storage.has(KEY), false);
  await storage.remove(KEY);
  await storage.removeFolder("generations/gen_1");
  assert.deepEqual(await storage.list("uploads"), []);
});

test("a folder is listed and removed with all that lies under it, and nothing else", async () => {
  const storage = await open();
  for (const key of ["uploads/a", "uploads/b", "archives/a"]) await storage.put(key, bytes(1, 0));
  for (const key of [KEY, outputKey("gen_2", "0".repeat(64))]) await storage.put(key, bytes(1, 0));
  assert.deepEqual((await storage.list("uploads")).sort(), ["uploads/a", "uploads/b"]);
  await storage.removeFolder("generations/gen_1");
  assert.equal(await storage.has(KEY), false);
  assert.equal(await storage.has(outputKey("gen_2", "0".repeat(64))), true);
});

test("a key cannot leave the storage", async () => {
  const storage = await open();
  for (const key of ["../x", "a/../../x", "/etc/passwd", "a//b", "a/.", "a/b\0", "a\\..\\b/c", "a"]) {
    await assert.rejects(storage.put(key, bytes(1, 0)), /not a storage key/, key);
    await assert.rejects(storage.get(key), /not a storage key/, key);
    await assert.rejects(storage.find(key), /not a storage key/, key);
  }
});
