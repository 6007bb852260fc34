import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { LATENTS, writeConfigs, writeControlnetConfig } from "../../demo/configs.ts";
import { evenLatents } from "../../demo/latents.ts";
import { PLAN } from "../../demo/plan.ts";
import { writeVocabulary } from "../../demo/vocabulary.ts";
import { CONDITIONS } from "../../demo/world/maps.ts";
import { render } from "../../demo/world/render.ts";
import { scene } from "../../demo/world/scene.ts";
import { readJson } from "../../src/models/checkpoint.ts";
import { controlnetConfig, parseConfig } from "../../src/models/config.ts";
import { clipShapes, controlnetFrom, initialize, unetShapes, vaeShapes } from "../../src/training/initialize.ts";
import { openLibrary } from "../../workers/generate/library.ts";
import { readClip, readUnet, readVae, STEM, writeComponent } from "../../workers/train/components.ts";

const models = mkdtempSync(join(tmpdir(), "demo-"));
after(() => rmSync(models, { recursive: true }));

const MOST_BYTES = 25e6;

test("every map has its training, and all that is trained fits into one MODELS_DIR of at most 25 MB", async () => {
  assert.deepEqual(PLAN.controlnets.map(([condition]) => condition).sort(), [...CONDITIONS].sort());
  const base = join(models, "demo");
  const captions = Array.from({ length: 1000 }, (_, seed) => scene(seed).caption);
  writeConfigs(base, writeVocabulary(join(base, "tokenizer"), captions));
  const unet = initialize(unetShapes(readUnet(base)), 1);
  const fresh = {
    unet,
    vae: initialize(vaeShapes(readVae(base)), 2),
    text_encoder: initialize(clipShapes(readClip(base)), 3),
  };
  for (const part of ["unet", "vae", "text_encoder"] as const) {
    const config = readJson(join(base, part, "config.json"));
    writeComponent(join(base, part), STEM[part], config, fresh[part].tensors, "F16");
  }
  await evenLatents(base, () => Promise.all([0, 1].map((seed) => render(scene(seed)))), LATENTS);
  for (const condition of CONDITIONS) {
    const folder = join(models, "controlnets", condition);
    writeControlnetConfig(folder);
    const raw = readJson(join(folder, "config.json"));
    const parameters = controlnetFrom(unet, parseConfig(controlnetConfig, raw, condition), 4);
    writeComponent(folder, STEM.unet, raw, parameters.tensors, "F16");
  }

  const { catalog } = openLibrary(models);
  assert.deepEqual(catalog.skipped, []);
  const [model] = catalog.models;
  assert.equal(model!.residuals, 13, "as in Stable Diffusion 1.5");
  assert.deepEqual([model!.width, model!.height], [128, 128]);
  assert.equal(catalog.controlnets.length, 8);
  assert.ok(catalog.controlnets.every(({ models }) => models.includes("demo")));
  const files = readdirSync(models, { recursive: true, encoding: "utf8" }).map((name) => statSync(join(models, name)));
  const bytes = files.reduce((sum, file) => sum + (file.isFile() ? file.size : 0), 0);
  assert.ok(bytes < MOST_BYTES, `${bytes} bytes`);
});
