/** Parts that do not belong together are refused before anything is computed, with both shapes. */
import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { openBase, openControlNet } from "../../src/models/base.ts";
import { misfit, requireFit } from "../../src/models/fit.ts";
import { openLibrary } from "../../workers/generate/library.ts";

const fixtures = join(import.meta.dirname, "../fixtures");
const sd15 = openBase(join(fixtures, "sd15/base"));
const sdxl = openBase(join(fixtures, "sdxl/base"));
type Tower = (typeof sd15.text)[number];
/** A tower whose config says something else. */
const configured = (tower: Tower, config: Partial<Tower["config"]>): Tower => ({
  ...tower,
  config: { ...tower.config, ...config },
});

test("a text tower of another width", () => {
  const wide = [configured(sd15.text[0]!, { hidden_size: 48 })];
  assert.throws(() => requireFit(sd15.unet, sd15.vae, wide), /gives \[B, 77, 48\], the U-Net needs \[B, 77, 32\]/);
});

test("SDXL's U-Net with one text tower, or with pooled text of another size", () => {
  const [first, second] = sdxl.text as [Tower, Tower];
  assert.throws(
    () => requireFit(sdxl.unet, sdxl.vae, [configured(first, { hidden_size: 64 })]),
    /pooled text is none, the U-Net needs \[B, 32\]/,
  );
  assert.throws(
    () => requireFit(sdxl.unet, sdxl.vae, [first, configured(second, { projection_dim: 40 })]),
    /pooled text is \[B, 40\], the U-Net needs \[B, 32\]/,
  );
  // The first tower has no projection in its file.
  assert.throws(
    () => requireFit(sdxl.unet, sdxl.vae, [first, first]),
    /pooled text is none, the U-Net needs \[B, 32\]/,
  );
});

test("SD 1.x's U-Net with two text towers", () => {
  const unet = { ...sd15.unet, cross_attention_dim: 64 };
  assert.throws(() => requireFit(unet, sd15.vae, sdxl.text), /pooled text is \[B, 32\], the U-Net needs none/);
});

test("a VAE of other channels; nine channels are an inpainting U-Net's, eight instruct-pix2pix'", () => {
  const vae = { ...sd15.vae, latent_channels: 16 };
  assert.throws(() => requireFit(sd15.unet, vae, sd15.text), /takes \[B, 4, h, w\].* the VAE has \[B, 16, h, w\]/);
  requireFit({ ...sd15.unet, in_channels: 9 }, sd15.vae, sd15.text);
  const edits = { ...sd15.unet, in_channels: 8 };
  requireFit(edits, sd15.vae, sd15.text);
  assert.throws(() => requireFit({ ...edits, time_cond_proj_dim: 16 }, sd15.vae, sd15.text), /distilled for guidance/);
  assert.throws(() => requireFit({ ...edits, in_channels: 7 }, sd15.vae, sd15.text), /takes \[B, 7, h, w\]/);
});

test("a VAE whose cells are not of 8 pixels", () => {
  const vae = { ...sd15.vae, block_out_channels: [16, 32, 32] };
  assert.throws(() => requireFit(sd15.unet, vae, sd15.text), /H\/4, W\/4\].*H\/8, W\/8\]/);
});

test("a ControlNet of other latents, of other hints, or of other cells", () => {
  const { config } = openControlNet(join(fixtures, "sd15/controlnets/canny"));
  assert.match(misfit(sd15.unet, { ...config, in_channels: 9 })!, /\[B, 9, h, w\].*\[B, 4, h, w\]/);
  assert.match(misfit(sd15.unet, { ...config, conditioning_channels: 6 })!, /\[B, 6, H, W\].*\[B, 3, H, W\]/);
  const coarse = [8, 8, 8, 8, 8];
  assert.match(misfit(sd15.unet, { ...config, conditioning_embedding_out_channels: coarse })!, /H\/16.*H\/8/);
});

test("ControlNets of one family on the base model of another, both ways", () => {
  const controlnet = (family: string) => openControlNet(join(fixtures, family, "controlnets/canny")).config;
  assert.equal(misfit(sd15.unet, controlnet("sd15")), null);
  assert.equal(misfit(sdxl.unet, controlnet("sdxl")), null);
  assert.match(misfit(sd15.unet, controlnet("sdxl"))!, /\[.*\].*\[.*\]/);
  assert.match(misfit(sdxl.unet, controlnet("sd15"))!, /\[.*\].*\[.*\]/);
});

test("what is offered says of each ControlNet which models it fits, and why not the others", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "fit-"));
  t.after(() => rmSync(folder, { recursive: true }));
  for (const family of ["sd15", "sdxl"]) {
    cpSync(join(fixtures, family, "base"), join(folder, family), { recursive: true });
    cpSync(join(fixtures, family, "controlnets/canny"), join(folder, "controlnets", family), { recursive: true });
  }
  const { controlnets } = openLibrary(folder).catalog;
  for (const [own, other] of [
    ["sd15", "sdxl"],
    ["sdxl", "sd15"],
  ] as const) {
    const { models, misfits } = controlnets.find(({ id }) => id === own)!;
    assert.deepEqual([models, Object.keys(misfits)], [[own], [other]]);
    assert.match(misfits[other]!, /residuals have \[.*\] channels, the U-Net's skip connections \[.*\]/);
  }
});

test("a checkpoint whose own scheduler is not offered is served with another one, and says so", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "fit-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const schedulers = {
    sde: { _class_name: "DPMSolverSDEScheduler", prediction_type: "v_prediction" },
    flow: { _class_name: "FlowMatchEulerDiscreteScheduler", prediction_type: "flow_prediction" },
  };
  for (const [name, config] of Object.entries(schedulers)) {
    cpSync(join(fixtures, "sd15/base"), join(folder, name), { recursive: true });
    writeFileSync(join(folder, name, "scheduler/scheduler_config.json"), JSON.stringify(config));
    const index = join(folder, name, "model_index.json");
    writeFileSync(index, readFileSync(index, "utf8").replace("DDIMScheduler", config._class_name));
  }
  const { models, skipped } = openLibrary(folder).catalog;
  const said = models.map(({ id, scheduler, prediction_type, warnings }) => [
    id,
    scheduler,
    prediction_type,
    warnings.filter((text) => text.includes("is not supported")),
  ]);
  const warning = (name: string) => [
    `scheduler_config.json: _class_name "${name}" is not supported; "dpmpp_sde" is the default instead`,
  ];
  assert.deepEqual(said.sort(), [["sde", "dpmpp_sde", "v_prediction", warning("DPMSolverSDEScheduler")]]);
  assert.match(skipped[0]!.reason, /FlowMatchEulerDiscreteScheduler/);
});
