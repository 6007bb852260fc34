import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { openStorage } from "../../src/storage/open.ts";
import { Uploads } from "../../src/storage/uploads.ts";
import { temporaryFolder } from "../support/processes.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

test("an upload is its owner's alone, and gone when its time is over; the sweep then removes its file", async (t) => {
  t.mock.timers.enable({ apis: ["Date"], now: Date.parse("2030-01-01") });
  const root = await temporaryFolder(stack);
  const uploads = new Uploads(openStorage({ DATA_DIR: root }), { UPLOAD_TTL: 10 });
  await uploads.sweep(); // of nothing at all
  const bytes = Buffer.from("a picture");
  const { id, expiresAt } = await uploads.put("ann/../é", bytes);
  assert.equal(expiresAt.toISOString(), "2030-01-01T00:00:10.000Z");
  assert.deepEqual(await uploads.get("ann/../é", id), bytes);
  assert.equal(await uploads.get("bob", id), undefined);
  assert.equal(await uploads.get("ann/../é", `upl_${"f".repeat(44)}`), undefined);

  t.mock.timers.tick(9_999);
  await uploads.sweep();
  assert.deepEqual(await uploads.get("ann/../é", id), bytes);
  const later = await uploads.put("bob", bytes);

  t.mock.timers.tick(1);
  assert.equal(await uploads.get("ann/../é", id), undefined);
  await uploads.sweep();
  assert.equal((await readdir(join(root, "artifacts/uploads"))).length, 1);
  assert.deepEqual(await uploads.get("bob", later.id), bytes);
});
