import assert from "node:assert/strict";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { relative } from "../../check/modules.ts";
import { readTensors } from "../../check/tensors.ts";
import { loadModel } from "../../src/diffusion/load.ts";
import { prepare, step } from "../../src/diffusion/pipeline.ts";
import { preview } from "../../src/diffusion/preview.ts";
import { openBase } from "../../src/models/base.ts";
import type { Tensor } from "../../src/onnx/tensor.ts";
import { request, runner, SD15 } from "../support/tiny.ts";

const TINY = join(SD15, "../tiny-vae");
const folder = mkdtempSync(join(tmpdir(), "preview-"));
after(() => rmSync(folder, { recursive: true }));

test("a model with a tiny autoencoder shows previews by it, as diffusers decodes them", async () => {
  cpSync(join(SD15, "base"), folder, { recursive: true });
  cpSync(TINY, join(folder, "taesd"), { recursive: true });
  const expected = readTensors(join(TINY, "decoded.safetensors"));
  const image = await preview(loadModel(openBase(folder), runner, runner), expected.get("latents")!);
  assert.ok(relative(image, expected.get("image")!) < 1e-5);
});

test("a model without one shows a pixel a latent cell, of the latents that the step is on its way to", async () => {
  const model = loadModel(openBase(join(SD15, "base")), runner, runner);
  const none = { hints: [], masks: [], source: null };
  const plan = await prepare(request({ num_inference_steps: 2 }), model, [], none);
  const seen: Tensor[] = [];
  const see = async (denoised: Tensor) => void seen.push(denoised);
  const end = await step(plan, await step(plan, plan.start, see), see);
  assert.equal(seen.length, 2);
  assert.deepEqual(seen[0]!.dims, [1, 4, 8, 8]);
  // DDIM's last step goes all but to what it expects at the end.
  assert.ok(relative(seen[1]!, { dims: [1, 4, 8, 8], data: end.pictures[0]!.sampler.latents }) < 0.2);
  const shown = await preview(model, { dims: [1, 4, 1, 2], data: Float32Array.of(1, 0, 0, 1, 0, 0, 0, 0) });
  assert.deepEqual(shown.dims, [1, 3, 1, 2]);
  assert.deepEqual([...shown.data], [...Float32Array.of(0.3512, 0.325, 0.2297, 0.4974, 0.3227, 0.235)]);
});

test("a VAE of its own shows previews by itself", async () => {
  const sd15 = loadModel(openBase(join(SD15, "base")), runner, runner);
  const latents = { dims: [1, 4, 8, 8], data: Float32Array.from({ length: 256 }, (_, i) => Math.sin(i)) };
  const shown = await preview({ ...sd15, vae: { ...sd15.vae, scaling_factor: 0.5 } }, latents);
  const doubled = { ...latents, data: latents.data.map((value) => value / 0.5) };
  assert.deepEqual(shown, (await sd15.run.vae_decoder({ latents: doubled })).image);
});
