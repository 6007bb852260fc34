/** Parts that do not belong together are refused before anything is computed, with both shapes. */
import assert from "node:assert/strict";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { openBase, openControlNet } from "../../src/models/base.ts";
import { misfit, requireFit } from "../../src/models/fit.ts";
import { openLibrary } from "../../workers/library.ts";

const fixtures = join(import.meta.dirname, "../fixtures");
const sd15 = openBase(join(fixtures, "sd15/base"));
const sdxl = openBase(join(fixtures, "sdxl/base"));
const towers = (base: typeof sd15) => base.text.map(({ config }) => config);

test("a text tower of another width", () => {
  const wide = [{ ...towers(sd15)[0]!, hidden_size: 48 }];
  assert.throws(() => requireFit(sd15.unet, sd15.vae, wide), /gives \[B, 77, 48\], the U-Net needs \[B, 77, 32\]/);
});

test("SDXL's U-Net with one text tower, or with pooled text of another size", () => {
  const [first, second] = towers(sdxl);
  assert.throws(
    () => requireFit(sdxl.unet, sdxl.vae, [{ ...first!, hidden_size: 64 }]),
    /pooled text is none, the U-Net needs \[B, 32\]/,
  );
  assert.throws(
    () => requireFit(sdxl.unet, sdxl.vae, [first!, { ...second!, projection_dim: 40 }]),
    /pooled text is \[B, 40\], the U-Net needs \[B, 32\]/,
  );
});

test("SD 1.x's U-Net with two text towers", () => {
  const unet = { ...sd15.unet, cross_attention_dim: 64 };
  assert.throws(() => requireFit(unet, sd15.vae, towers(sdxl)), /pooled text is \[B, 32\], the U-Net needs none/);
});

test("a VAE of other channels; nine channels are an inpainting U-Net's", () => {
  const vae = { ...sd15.vae, latent_channels: 16 };
  assert.throws(() => requireFit(sd15.unet, vae, towers(sd15)), /takes \[B, 4, h, w\].* the VAE has \[B, 16, h, w\]/);
  requireFit({ ...sd15.unet, in_channels: 9 }, sd15.vae, towers(sd15));
  assert.throws(() => requireFit({ ...sd15.unet, in_channels: 8 }, sd15.vae, towers(sd15)), /takes \[B, 8, h, w\]/);
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
