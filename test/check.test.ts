/** `npm run check`, as whoever has reference data of his own runs it. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

const ROOT = join(import.meta.dirname, "..");
const folder = mkdtempSync(join(tmpdir(), "check-"));
after(() => rmSync(folder, { recursive: true }));
const check = (dir: string) => spawnSync(process.execPath, [join(ROOT, "check/main.ts"), dir], { encoding: "utf8" });

test("one line a subject, with its error: ok, or short and an exit status of 1", () => {
  const file = join(folder, "noise.safetensors");
  cpSync(join(ROOT, "test/fixtures/noise.safetensors"), file);
  const right = check(folder);
  assert.equal(right.status, 0, right.stderr);
  const lines = right.stdout.trim().split("\n");
  assert.ok(lines.length > 1 && lines.every((line) => /^noise seed\d+\.n\d+ {2}\d\.\d\de[+-]\d+ {2}ok$/.test(line)));

  const bytes = readFileSync(file);
  bytes.writeFloatLE(9, bytes.length - 4);
  writeFileSync(file, bytes);
  const wrong = check(folder);
  assert.equal(wrong.status, 1);
  assert.equal(wrong.stdout.match(/ {2}short$/gm)?.length, 1);
});

test("a folder that is not there, or has nothing to check, is said", () => {
  const missing = check(join(folder, "none"));
  assert.equal(missing.status, 2);
  assert.match(missing.stderr, /none: no such folder/);
  const empty = mkdtempSync(join(folder, "empty-"));
  assert.equal(check(empty).status, 1);
  assert.match(check(empty).stderr, /nothing to check here; looked for noise\.safetensors, /);
});
