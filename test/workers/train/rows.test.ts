/** What a training keeps of its dataset, on the disk. */
import assert from "node:assert/strict";
import fs, { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { writeComponent } from "../../../workers/train/components.ts";
import { RowFile } from "../../../workers/train/rows.ts";

const folder = mkdtempSync(join(tmpdir(), "rows-"));
after(() => rmSync(folder, { recursive: true }));

test("rows that the disk has no room for are told before the first is made, and leave nothing", async () => {
  let made = 0;
  const making = RowFile.open(join(folder, "large"), 2 ** 40, 2 ** 20, async () => {
    made += 1;
    return new Float32Array(2 ** 20);
  });
  await assert.rejects(making, {
    name: "TrainingError",
    message: /^dataset: what the base makes of its .* \d+ MB more are needed; \d+ MB are free .* 537 MB stay free$/,
  });
  assert.equal(made, 0);
  assert.deepEqual(readdirSync(folder), []);
});

test("rows, and networks, that others leave no room for wait for it: they leave nothing, and are tried again", async (t) => {
  let free = 2 ** 40;
  t.mock.method(fs, "statfsSync", () => ({ bavail: free, bsize: 1 }));
  syncBuiltinESMExports();
  t.after(() => {
    t.mock.restoreAll();
    syncBuiltinESMExports();
  });
  const filling = RowFile.open(join(folder, "filling"), 3, 1, async (index) => {
    free = 2 ** 29;
    return Float32Array.of(index);
  });
  await assert.rejects(filling, { code: "ENOSPC" });
  const tensors = new Map([["weight", { dims: [4], data: new Float32Array(4) }]]);
  const write = () => writeComponent(join(folder, "unet"), "model", {}, tensors, "F32");
  assert.throws(write, { code: "ENOSPC" });
  assert.deepEqual(readdirSync(folder), []);
  free = 2 ** 30;
  write();
  rmSync(join(folder, "unet"), { recursive: true });
});

test("rows that cannot all be made leave nothing; made, each comes back as it was", async () => {
  const file = join(folder, "rows");
  const row = (index: number) => Float32Array.of(index, -index);
  const broken = async (index: number) => (index < 2 ? row(index) : assert.fail("no more"));
  await assert.rejects(RowFile.open(file, 3, 2, broken), /no more/);
  assert.deepEqual(readdirSync(folder), []);
  const rows = await RowFile.open(file, 3, 2, async (index) => row(index));
  assert.deepEqual(
    [2, 0, 1].map((index) => rows.get(index)),
    [2, 0, 1].map(row),
  );
  assert.deepEqual(readdirSync(folder), ["rows"]);
});
