import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { DatasetError, readDataset } from "../../src/training/dataset.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "dataset-"));
  mkdirSync(join(folder, "source"));
  mkdirSync(join(folder, "target"));
  for (const name of ["source/0.png", "target/0.png", "source/1.png", "target/1.png"]) {
    writeFileSync(join(folder, name), "");
  }
});
afterEach(() => rmSync(folder, { recursive: true }));

const list = (name: string, ...lines: unknown[]) =>
  writeFileSync(
    join(folder, name),
    lines.map((line) => (typeof line === "string" ? line : JSON.stringify(line))).join("\n"),
  );

const refusal = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof DatasetError);
    return error.message;
  }
  assert.fail("nothing was refused");
};

test("the original repository's layout: a line a pair, in its order", () => {
  list("prompt.json", { source: "source/1.png", target: "target/1.png", prompt: "one" }, "", {
    source: "source/0.png",
    target: "target/0.png",
    prompt: "",
  });
  assert.deepEqual(readDataset(folder, true), [
    { where: "prompt.json:1", hint: join(folder, "source/1.png"), image: join(folder, "target/1.png"), prompt: "one" },
    { where: "prompt.json:3", hint: join(folder, "source/0.png"), image: join(folder, "target/0.png"), prompt: "" },
  ]);
});

test("the Hugging Face image folder, with either name for the hint", () => {
  list(
    "metadata.jsonl",
    { file_name: "target/0.png", conditioning_image: "source/0.png", text: "zero" },
    { image: "target/1.png", conditioning_image_file_name: "source/1.png", text: "one" },
  );
  const pairs = readDataset(folder, true);
  assert.deepEqual(
    pairs.map(({ hint }) => hint),
    [join(folder, "source/0.png"), join(folder, "source/1.png")],
  );
  assert.deepEqual(
    pairs.map(({ image }) => image),
    [join(folder, "target/0.png"), join(folder, "target/1.png")],
  );
});

test("a base needs no hints", () => {
  list("metadata.jsonl", { file_name: "target/0.png", text: "zero" });
  assert.equal(readDataset(folder, false)[0]!.hint, null);
  assert.match(
    refusal(() => readDataset(folder, true)),
    /metadata.jsonl:1: no "conditioning_image_file_name"/,
  );
});

test("everything wrong is told at once: by line, field and file", () => {
  list(
    "prompt.json",
    { source: "source/0.png", target: "target/9.png", prompt: "a" },
    "{not json",
    { source: "../../etc/passwd", target: "/etc/passwd", prompt: "b" },
    { source: "source/0.png", target: "target/0.png" },
  );
  assert.deepEqual(refusal(() => readDataset(folder, true)).split("\n"), [
    'prompt.json:1: the file "target/9.png" is missing',
    "prompt.json:2: not JSON",
    'prompt.json:3: "/etc/passwd" lies outside the dataset',
    'prompt.json:3: "../../etc/passwd" lies outside the dataset',
    'prompt.json:4: no "prompt"',
  ]);
});

test("a name that is no file's is told by line, also of a listing", () => {
  const pair = { source: "source/0.png", target: "target/0.png", prompt: "a" };
  list("prompt.json", { ...pair, source: "source" }, { ...pair, source: "" }, { ...pair, target: "." });
  assert.deepEqual(refusal(() => readDataset(folder, true)).split("\n"), [
    'prompt.json:1: "source" is a folder, or no file',
    'prompt.json:2: "" is a folder, or no file',
    'prompt.json:3: "." is a folder, or no file',
  ]);
  rmSync(join(folder, "prompt.json"));
  mkdirSync(join(folder, "prompt.json"));
  assert.match(
    refusal(() => readDataset(folder, true)),
    /no prompt.json and no metadata.jsonl/,
  );
});

test("a listing that is too large to be read is refused with what it may have", () => {
  for (const name of ["prompt.json", "metadata.jsonl"]) {
    list(name, "");
    truncateSync(join(folder, name), 128 * 2 ** 20 + 1);
    assert.equal(
      refusal(() => readDataset(folder, true)),
      `${name}: 134217729 bytes; at most 134217728 are read`,
    );
    rmSync(join(folder, name));
  }
});

test("a dataset with no pair, or no listing, is refused", () => {
  assert.match(
    refusal(() => readDataset(folder, true)),
    /no prompt.json and no metadata.jsonl/,
  );
  list("prompt.json", "", "");
  assert.match(
    refusal(() => readDataset(folder, true)),
    /lists nothing/,
  );
});
