/** How a trained ControlNet comes among those that are served. */
import assert from "node:assert/strict";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import fs from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openLibrary } from "../../../workers/generate/library.ts";
import { Place } from "../../../workers/train/publish.ts";

const CANNY = join(import.meta.dirname, "../../fixtures/sd15/controlnets/canny");
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
  const half = join(models, "controlnets/.trn_1.0.part");
  const other = join(models, "controlnets/.trn_10.0.part");
  for (const folder of [half, other]) cpSync(CANNY, folder, { recursive: true });
  assert.deepEqual(served(models), []);
  assert.deepEqual(openLibrary(models).catalog.skipped, []);
  const place = new Place(models, "new", "trn_1");
  await place.sweep();
  assert.ok(!existsSync(half));
  cpSync(CANNY, half, { recursive: true });
  await place.withdraw();
  assert.ok(!existsSync(half));
  assert.ok(existsSync(other), "another training's is its own affair");
});

test("two attempts that bring it at once do not meet before its name: it is there, whole, and done for both", async () => {
  for (let round = 0; round < 5; round++) {
    const models = modelsDir();
    const attempts = [1, 2].map(() => new Place(models, "new", "trn_1"));
    const brought = await Promise.allSettled(attempts.map((place) => place.bring(CANNY, {})));
    assert.deepEqual(
      brought.map(({ status }) => status),
      ["fulfilled", "fulfilled"],
    );
    assert.deepEqual(served(models), ["new"]);
    assert.deepEqual(readdirSync(join(models, "controlnets")), ["new"]);
  }
});

test("a disk that is full when a place is looked for is no refusal: it may have room later", async (t) => {
  const full = Object.assign(new Error("ENOSPC: no space left on device, mkdir"), { code: "ENOSPC" });
  const mock = t.mock.method(fs, "mkdir", () => Promise.reject(full)); // a disk that is full cannot be had everywhere
  syncBuiltinESMExports();
  t.after(() => {
    mock.mock.restore();
    syncBuiltinESMExports();
  });
  const place = new Place(modelsDir(), "new", "trn_1");
  await assert.rejects(place.check(), (error) => error === full);
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
