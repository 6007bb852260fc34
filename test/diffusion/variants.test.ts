/** U-Nets that the fixtures have not, made of the sd15 fixture as test/fixtures/make/variants.py makes them. */
import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { readTensors } from "../../check/tensors.ts";
import { loadControlNet, loadModel } from "../../src/diffusion/load.ts";
import { prepare } from "../../src/diffusion/pipeline.ts";
import { hint, mask, sample } from "../../src/image/hint.ts";
import { openBase, openControlNet } from "../../src/models/base.ts";
import { type RawTensor, readRaw, writeRaw } from "../support/rewrite.ts";
import { finish, HASH, readImage, request, runner, SD15 } from "../support/tiny.ts";

const expected = readTensors(join(SD15, "../variants.safetensors"));
const folders: string[] = [];
after(() => {
  for (const folder of folders) rmSync(folder, { recursive: true });
});

/** The sd15 model with a changed U-Net. */
function variant(config: object, change: (tensors: Map<string, RawTensor>) => void) {
  const folder = mkdtempSync(join(tmpdir(), "variant-"));
  folders.push(folder);
  cpSync(join(SD15, "base"), folder, { recursive: true });
  const settings = join(folder, "unet/config.json");
  writeFileSync(settings, JSON.stringify({ ...JSON.parse(readFileSync(settings, "utf8")), ...config }));
  const weights = join(folder, "unet/diffusion_pytorch_model.safetensors");
  const tensors = readRaw(weights);
  change(tensors);
  writeRaw(weights, tensors);
  return loadModel(openBase(folder), runner, runner);
}

function nine(tensors: Map<string, RawTensor>): void {
  const { dtype, bytes } = tensors.get("conv_in.weight")!; // [16, 4, 3, 3], F16
  const [row, channel] = [4 * 9 * 2, 9 * 2];
  const rows = Array.from({ length: 16 }, (_, i) => bytes.subarray(i * row, (i + 1) * row));
  const joined = Buffer.concat(rows.flatMap((four) => [four, four.subarray(0, channel), four]));
  tensors.set("conv_in.weight", { dtype, shape: [16, 9, 3, 3], bytes: joined });
}

function guided(tensors: Map<string, RawTensor>): void {
  const { dtype, bytes } = tensors.get("time_embedding.linear_1.weight")!; // [64, 16], F16
  tensors.set("time_embedding.cond_proj.weight", { dtype, shape: [16, 16], bytes: bytes.subarray(0, 16 * 16 * 2) });
}

const canny = loadControlNet(openControlNet(join(SD15, "controlnets/canny")), runner, runner);

/** dB of a decoded image [3, H, W] in -1 … 1 against values [H, W, 3] in 0 … 1. */
function psnr(image: Float32Array, name: string): number {
  const { data } = expected.get(name)!;
  const plane = image.length / 3;
  const squares = image.map((value, i) => {
    const unit = Math.min(Math.max(value / 2 + 0.5, 0), 1);
    return (unit - (data[(i % plane) * 3 + Math.floor(i / plane)] as number)) ** 2;
  });
  return -10 * Math.log10(squares.reduce((sum, square) => sum + square, 0) / image.length);
}

async function reaches(name: string, image: Float32Array): Promise<void> {
  const decibels = psnr(image, name);
  console.log(`${name}: ${decibels.toFixed(1)} dB before rounding`);
  assert.ok(decibels > 90, `${decibels.toFixed(1)} dB`);
}

for (const [name, strength] of [
  ["nine", 1],
  ["nine_strength", 0.6],
] as const) {
  test(`inpainting by a U-Net with nine channels at strength ${strength}`, async () => {
    const source = {
      image: await readImage("inpaint/image.png", sample),
      mask: await readImage("inpaint/mask_image.png", mask),
    };
    const hints = [[() => readImage("inpaint/control_0.png", hint)]];
    const fields = { negative_prompt: "blurry", num_inference_steps: 6, strength, image: HASH, mask_image: HASH };
    const model = variant({ in_channels: 9 }, nine);
    const plan = await prepare(request(fields, [{}]), model, [canny], { hints, masks: [null], source });
    await reaches(name, (await finish(plan))[0]!);
  });
}

test("a U-Net distilled for guidance (LCM) runs on one row and is told the scale", async () => {
  const hints = [[() => readImage("inpaint/control_0.png", hint)]];
  const fields = { negative_prompt: "blurry", scheduler: "lcm", guidance_scale: 8 };
  const model = variant({ time_cond_proj_dim: 16 }, guided);
  const plan = await prepare(request(fields, [{}]), model, [canny], { hints, masks: [null], source: null });
  assert.equal(plan.conditions.encoder_hidden_states!.dims[0], 1);
  await reaches("lcm", (await finish(plan))[0]!);
});
