import assert from "node:assert/strict";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import { openAnnotatorFolder } from "../../src/annotators/folder.ts";

const FIXTURES = join(import.meta.dirname, "../fixtures/annotators/neural");
const root = mkdtempSync(join(tmpdir(), "annotators-"));
after(() => rmSync(root, { recursive: true }));

/** A folder of `root` with copies of fixture files, and what is changed in its JSON. */
function folder(name: string, files: Record<string, string>, changes: Record<string, object> = {}): string {
  const dir = join(root, name);
  for (const [file, from] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, file)), { recursive: true });
    cpSync(join(FIXTURES, from), join(dir, file));
  }
  for (const [file, change] of Object.entries(changes)) {
    const json = JSON.parse(readFileSync(join(dir, file), "utf8"));
    writeFileSync(join(dir, file), JSON.stringify({ ...json, ...change }));
  }
  return dir;
}

const layout = (name: string) => ({
  "config.json": `${name}/config.json`,
  "preprocessor_config.json": `${name}/preprocessor_config.json`,
  "onnx/model.onnx": `${name}/onnx/model.onnx`,
});

test("a folder with a config is what the config says, whatever its name", () => {
  const { kind, processor, isDistance } = openAnnotatorFolder(folder("my-depth", layout("dpt")));
  assert.deepEqual([kind, processor?.size, isDistance], ["depth", { height: 384, width: 384 }, false]);
  assert.equal(openAnnotatorFolder(folder("my-classes", layout("segformer"))).kind, "segmentation");
});

test("a file of a published name tells what a folder is; model.onnx alone leaves it to the folder's name", () => {
  const named = { "yolox_l.onnx": "dwpose/yolox_l.onnx", "dw-ll_ucoco_384.onnx": "dwpose/dw-ll_ucoco_384.onnx" };
  assert.equal(openAnnotatorFolder(folder("people", named)).kind, "dwpose");
  assert.equal(
    openAnnotatorFolder(folder("lines", { "lineart_coarse.onnx": "lineart/model.onnx" })).kind,
    "lineart_coarse",
  );
  assert.equal(openAnnotatorFolder(folder("softedge_hed", { "model.onnx": "hed/model.onnx" })).kind, "hed");
  assert.throws(
    () => openAnnotatorFolder(folder("thing", { "model.onnx": "hed/model.onnx" })),
    /"thing" is not recognised/,
  );
});

test("a network that is not what its folder says, or lacks a file, is refused with the reason", () => {
  const refused = (dir: string, reason: RegExp) => assert.throws(() => openAnnotatorFolder(dir), reason);
  refused(
    folder("mlsd", { "model.onnx": "hed/model.onnx" }),
    /its input "image" is \[1, 3, height, width\], not \[1, 4, H, W\]/,
  );
  refused(folder("lineart", { "model.onnx": "hed/model.onnx" }), /it has 5 outputs, not 1/);
  refused(
    folder("dwpose", { "yolox_l.onnx": "dwpose/yolox_l.onnx" }),
    /dw-ll_ucoco_384\.onnx is missing\. Published: yzd-v\/DWPose/,
  );
  refused(folder("pads", layout("dpt"), { "preprocessor_config.json": { do_pad: true } }), /"do_pad"/);
  refused(
    folder("other", layout("dpt"), { "preprocessor_config.json": { image_processor_type: "GLPNImageProcessor" } }),
    /GLPN/,
  );
  refused(
    folder("classes", layout("dpt"), { "config.json": { architectures: ["DPTForSemanticSegmentation"] } }),
    /not recognised.*DPTForSem/,
  );
});

test("links into a cache are followed", () => {
  const cache = folder("cache", { blob: "hed/model.onnx" });
  mkdirSync(join(root, "hed"));
  symlinkSync(join(cache, "blob"), join(root, "hed/model.onnx"));
  assert.equal(openAnnotatorFolder(join(root, "hed")).kind, "hed");
});
