/** How a trained ControlNet comes among those that are served. */
import assert from "node:assert/strict";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openLibrary } from "../../workers/library.ts";
import { Place } from "../../workers/training/publish.ts";

const CANNY = join(import.meta.dirname, "../fixtures/sd15/controlnets/canny");
const root = mkdtempSync(join(tmpdir(), "publish-"));
after(() => rmSync(root, { recursive: true }));

let count = 0;
function modelsDir(): string {
  const folder = join(root, String(++count));
  mkdirSync(folder);
  return folder;
}
const served = (models: string) => [...openLibrary(models).controlnets.keys()];

test("it is there whole, says who made it, and can be withdrawn by nobody else", async () => {
  const models = modelsDir();
  const place = new Place(models, "new", "trn_1");
  await place.check();
  assert.equal(await place.isDone(), false);
  await place.bring(CANNY, { request: {} });
  assert.deepEqual(served(models), ["new"]);
  assert.deepEqual(readdirSync(join(models, "controlnets")), ["new"]);
  assert.equal(await place.isDone(), true, "a worker that comes after a crash finds it done");
  const other = new Place(models, "new", "trn_2");
  assert.equal(await other.isDone(), false);
  assert.equal(await other.withdraw(), false);
  assert.deepEqual(served(models), ["new"]);
  assert.equal(await place.withdraw(), true);
  assert.deepEqual(readdirSync(join(models, "controlnets")), []);
});

test("what a crash left half-written is not served, and goes with the next attempt", async () => {
  const models = modelsDir();
  const half = join(models, "controlnets/.trn_1.part");
  cpSync(CANNY, half, { recursive: true });
  assert.deepEqual(served(models), []);
  assert.deepEqual(openLibrary(models).catalog.skipped, []);
  const place = new Place(models, "new", "trn_1");
  await place.check();
  assert.ok(!existsSync(half));
  cpSync(CANNY, half, { recursive: true });
  await place.withdraw();
  assert.ok(!existsSync(half));
});

test("a name that another has is refused at the start and at the end, and the other stays as it is", async () => {
  for (const other of ["new", "new.safetensors"]) {
    const models = modelsDir();
    const place = new Place(models, "new", "trn_1");
    await place.check();
    const path = join(models, "controlnets", other);
    if (other === "new") cpSync(CANNY, path, { recursive: true });
    else writeFileSync(path, "a file");
    const taken = { code: "name_taken", message: 'there is a ControlNet "new" already' };
    await assert.rejects(place.check(), taken);
    await assert.rejects(place.bring(CANNY, {}), taken);
    assert.deepEqual(readdirSync(join(models, "controlnets")), [other]);
    assert.ok(!existsSync(join(path, "training.json")));
  }
});

test("a MODELS_DIR that cannot be written to is told before the first step", async () => {
  const models = modelsDir();
  writeFileSync(join(models, "controlnets"), "no folder");
  await assert.rejects(new Place(models, "new", "trn_1").check(), { code: "models_not_writable" });
});
