/** Folders as other programs lay them out, served as MODELS_DIR without a change. */
import assert from "node:assert/strict";
import { cpSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openLibrary } from "../../../workers/generate/library.ts";

const FIXTURE = join(import.meta.dirname, "../../fixtures/sd15");
const root = mkdtempSync(join(tmpdir(), "finding-"));
after(() => rmSync(root, { recursive: true }));

/** A MODELS_DIR with these things in it: what of the fixture each is, or a file's text. */
function folder(name: string, things: Record<string, "base" | "canny" | { text: string }>): string {
  const dir = join(root, name);
  for (const [path, what] of Object.entries(things)) {
    const target = join(dir, path);
    mkdirSync(join(target, ".."), { recursive: true });
    if (typeof what === "object") writeFileSync(target, what.text);
    else cpSync(join(FIXTURE, what === "base" ? "base" : "controlnets/canny"), target, { recursive: true });
  }
  return dir;
}

/** The ids that are served and those that are not, with the reasons. */
function served(dir: string) {
  const { models, controlnets, skipped } = openLibrary(dir).catalog;
  return {
    models: models.map(({ id }) => id).sort(),
    controlnets: controlnets.map(({ id }) => id).sort(),
    skipped: Object.fromEntries(skipped.map(({ shelf, id, reason }) => [`${shelf}/${id}`, reason])),
  };
}

test("a second ControlNet's weights in the folder of one, as xinsir's Union has ProMax beside it", () => {
  const dir = folder("promax", { base: "base", "controlnets/union": "canny" });
  const weights = join(dir, "controlnets/union/diffusion_pytorch_model");
  cpSync(`${weights}.safetensors`, `${weights}_promax.safetensors`);
  const controlnets = ["union", "union/diffusion_pytorch_model_promax"];
  assert.deepEqual(served(dir), { models: ["base"], controlnets, skipped: {} });
});

test("what lies loose in a shelf's folder is on that shelf, and hides none beside it", () => {
  const dir = folder("loose", {
    "controlnets/canny": "canny",
    "controlnets/config.json": { text: "{}" },
    "loras/adapter_config.json": { text: "{}" },
    "loras/adapter_model.safetensors": { text: "" },
  });
  const { controlnets, skipped } = served(dir);
  assert.deepEqual([controlnets, Object.keys(skipped)], [["canny"], ["loras/adapter_model"]]);
});

test("AUTOMATIC1111's folders, with sub-folders", () => {
  const dir = folder("a1111", {
    "Stable-diffusion/photo/real": "base",
    "Stable-diffusion/plain": "base",
    "Stable-diffusion/old.ckpt": { text: "" },
    "Stable-diffusion/plain.yaml": { text: "model:" },
    "ControlNet/canny": "canny",
    "VAE/some.vae.pt": { text: "" },
  });
  assert.deepEqual(served(dir), {
    models: ["photo/real", "plain"],
    controlnets: ["canny"],
    skipped: {
      "models/VAE": "a folder of things that are not served",
      "models/old": "a pickle, which can run code; only .safetensors files are loaded",
    },
  });
});

test("a model without a tiny autoencoder gets that of its family in decoders, and what cannot be used is told", () => {
  const dir = folder("decoders", { one: "base", two: "base" });
  const tiny = join(FIXTURE, "../tiny-vae");
  for (const place of ["decoders/taesd", "decoders/mine", "two/own"]) {
    cpSync(tiny, join(dir, place), { recursive: true });
  }
  cpSync(join(FIXTURE, "base/vae"), join(dir, "decoders/sdxl"), { recursive: true });
  const { models, catalog } = openLibrary(dir);
  assert.deepEqual(
    catalog.models.map(({ id, tiny_decoder }) => [id, tiny_decoder]),
    [
      ["one", true],
      ["two", true],
    ],
  );
  const folders = ["one", "two"].map((id) => models.get(id)!.networks.tiny_decoder!.folder);
  assert.deepEqual(folders, [join(dir, "decoders/taesd"), join(dir, "two/own")]);
  const reasons = Object.fromEntries(catalog.skipped.map(({ id, reason }) => [id, reason]));
  assert.deepEqual(Object.keys(reasons), ["decoders/mine", "decoders/sdxl"]);
  assert.match(reasons["decoders/mine"]!, /does not say which models it is for: one of sd1, sd2, sdxl, taesd, taesdxl/);
  assert.match(reasons["decoders/sdxl"]!, /AutoencoderKL/);
});

test("ComfyUI's folders, and a suffix in capitals", () => {
  const dir = folder("comfy", {
    "checkpoints/one": "base",
    "controlnet/canny": "canny",
    "clip_vision/some.safetensors": { text: "" },
    "checkpoints/BROKEN.SAFETENSORS": { text: "<!DOCTYPE html><html>" },
  });
  const { skipped, ...rest } = served(dir);
  assert.deepEqual(rest, { models: ["one"], controlnets: ["canny"] });
  assert.deepEqual(Object.keys(skipped).sort(), ["models/BROKEN", "models/clip_vision"]);
  assert.match(skipped["models/BROKEN"]!, /a web page, not a model/);
});

test("a hub's cache, by org/name: the snapshot of its branch main, with links to blobs", () => {
  const snapshot = "models--some--model--v2/snapshots/0123";
  const dir = folder("hub", {
    [snapshot]: "base",
    "models--some--model--v2/snapshots/4567/model_index.json": { text: "{}" },
    "models--some--model--v2/refs/main": { text: "0123\n" },
    "models--lllyasviel--control_canny/snapshots/89ab": "canny",
    "models--nobody--nothing/refs/main": { text: "cdef" },
  });
  const weights = join(dir, snapshot, "unet/diffusion_pytorch_model.safetensors");
  mkdirSync(join(dir, "models--some--model--v2/blobs"));
  renameSync(weights, join(dir, "models--some--model--v2/blobs/feed"));
  symlinkSync("../../../blobs/feed", weights);
  assert.deepEqual(served(dir), {
    models: ["some/model--v2"],
    controlnets: ["lllyasviel/control_canny"],
    skipped: { "models/nobody/nothing": "the hub's cache has no snapshot of it" },
  });
});

test("links that lead nowhere and links that lead back end no start", () => {
  const dir = folder("links", { one: "base" });
  symlinkSync("gone", join(dir, "broken"));
  symlinkSync("..", join(dir, "one", "back"));
  mkdirSync(join(dir, "sub"));
  symlinkSync("..", join(dir, "sub", "up"));
  const { models, skipped } = served(dir);
  assert.ok(models.includes("one"));
  assert.match(skipped["models/broken"]!, /neither a model folder nor/);
});
