import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { openStorage } from "../../src/storage/open.ts";
import { Uploads } from "../../src/storage/uploads.ts";
import { temporaryFolder } from "../support/processes.ts";

/** One that counts nothing, by this process' clock. */
const ledger = { now: async () => Date.now(), take: async () => {}, giveBack: async () => {} };
const FACTS = { bytes: 9, width: 3, height: 3, sha256: "0f" };
const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

test("an upload is its owner's alone, and gone when its time is over; the sweep then removes its file", async (t) => {
  t.mock.timers.enable({ apis: ["Date"], now: Date.parse("2030-01-01") });
  const root = await temporaryFolder(stack);
  const uploads = new Uploads(openStorage({ DATA_DIR: root }), { UPLOAD_TTL: 10 }, ledger);
  await uploads.sweep(); // of nothing at all
  const bytes = Buffer.from("a picture");
  const { id, expiresAt } = await uploads.put("ann/../é", bytes, FACTS);
  assert.equal(expiresAt.toISOString(), "2030-01-01T00:00:10.000Z");
  assert.deepEqual(await uploads.get("ann/../é", id), bytes);
  assert.equal(await uploads.get("bob", id), undefined);
  assert.equal(await uploads.get("ann/../é", `upl_${"f".repeat(44)}`), undefined);

  t.mock.timers.tick(9_999);
  await uploads.sweep();
  assert.deepEqual(await uploads.get("ann/../é", id), bytes);
  const later = await uploads.put("bob", bytes, FACTS);

  t.mock.timers.tick(1);
  assert.equal(await uploads.get("ann/../é", id), undefined);
  await uploads.sweep();
  for (const folder of ["uploads", "upload-facts"]) {
    assert.equal((await readdir(join(root, "artifacts", folder))).length, 1);
  }
  assert.deepEqual(await uploads.get("bob", later.id), bytes);

  assert.partialDeepStrictEqual(await uploads.describe("bob", later.id), { ...FACTS, id: later.id });
  assert.equal(await uploads.remove("ann", later.id), false);
  assert.equal(await uploads.remove("bob", later.id), true);
  assert.equal(await uploads.remove("bob", later.id), false);
  assert.equal(await uploads.get("bob", later.id), undefined);
});
