import assert from "node:assert/strict";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { networkMaps } from "../../src/annotators/annotate.ts";
import { FILED_ANNOTATORS, foldersFor, missingFiles, openAnnotators } from "../../src/annotators/library.ts";

const FIXTURES = join(import.meta.dirname, "../fixtures/annotators");
const root = mkdtempSync(join(tmpdir(), "library-"));
after(() => rmSync(root, { recursive: true }));

test("each folder serves its annotators; what cannot be opened is listed with the reason", () => {
  cpSync(join(FIXTURES, "neural/dpt"), join(root, "a-depth"), { recursive: true });
  cpSync(join(FIXTURES, "neural/hed"), join(root, "hed"), { recursive: true });
  mkdirSync(join(root, "broken"));
  writeFileSync(join(root, "broken/mlsd_large_512_fp32.pth"), "nothing");
  writeFileSync(join(root, "stray.onnx"), "nothing");
  const library = openAnnotators(root);
  assert.deepEqual([...library.folders.keys()], ["a-depth", "hed"]);
  assert.deepEqual(foldersFor("depth", library), ["a-depth"]);
  assert.deepEqual(foldersFor("scribble_hed", library), ["hed"]);
  assert.deepEqual(foldersFor("normal_metric3d", library), []); // this depth network gives no normals
  assert.deepEqual(
    library.skipped.map(({ path, reason }) => [path.slice(root.length + 1), reason]),
    [
      ["broken", "mlsd_large_512_fp32.pth: not a file of torch.save"],
      ["stray.onnx", "not a folder; each annotator's networks lie in one of their own"],
    ],
  );
  assert.deepEqual(openAnnotators(join(root, "none")).skipped, []);
});

test("an annotator whose files are missing says where they are published", () => {
  assert.match(
    missingFiles("mlsd"),
    /annotators\/mlsd\/: lllyasviel\/Annotators on Hugging Face: mlsd_large_512_fp32\.pth/,
  );
  for (const annotator of FILED_ANNOTATORS) assert.match(missingFiles(annotator), /\.(pth|onnx)/, annotator);
  for (const annotator of Object.keys(networkMaps)) assert.ok(FILED_ANNOTATORS.includes(annotator), annotator);
});
