/** instruct-pix2pix and CosXL Edit, made of the fixtures as test/fixtures/make/pix2pix.py makes them, against diffusers' pipelines. */
import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, suite, test } from "node:test";
import { decodeImage } from "../../src/image/decode.ts";
import { openSingleFile } from "../../src/models/single-file.ts";
import { shownBeside } from "../../src/models/unet-inputs.ts";
import { published, writeFile } from "../support/original.ts";
import { edit, makePix2pix } from "../support/pix2pix.ts";
import { decibels, serve } from "../support/served.ts";

const FIXTURES = join(import.meta.dirname, "../fixtures");
const SIDE = 64;
const VALUES = 3 * SIDE ** 2;

const models = mkdtempSync(join(tmpdir(), "pix2pix-"));
after(() => rmSync(models, { recursive: true }));

const make = (id: string, from: "sd15" | "sdxl", index: object) => makePix2pix(join(models, id), from, index);
make("edits", "sd15", { _class_name: "StableDiffusionInstructPix2PixPipeline" });
make("edits_xl", "sdxl", { _class_name: "StableDiffusionXLInstructPix2PixPipeline" });
make("cosxl_edit", "sdxl", { _class_name: "StableDiffusionXLInstructPix2PixPipeline", is_cosxl_edit: true });
cpSync(join(FIXTURES, "sd15/base"), join(models, "plain"), { recursive: true });
for (const name of ["canny", "untrained"]) {
  cpSync(join(FIXTURES, "sd15/controlnets", name), join(models, "controlnets/own", name), { recursive: true });
}

const uri = (file: string) => `data:image/png;base64,${readFileSync(join(FIXTURES, file)).toString("base64")}`;
const image = uri("sd15/cases/inpaint/image.png");
const request = {
  model: "edits",
  prompt: "a red house by the sea",
  scheduler: "ddim",
  num_inference_steps: 6,
  seed: 7,
  width: SIDE,
  height: SIDE,
  image,
};

/** From top to bottom of pix2pix.png. */
const CASES = [
  { name: "instruct-pix2pix", negative_prompt: "blurry", image_guidance_scale: 1.5 },
  { name: "with fresh noise", scheduler: "euler_ancestral", guidance_scale: 5, image_guidance_scale: 2.3 },
  { name: "without guidance", guidance_scale: 1 },
  {
    name: "SDXL, guidance rescaled",
    model: "edits_xl",
    scheduler: "euler",
    guidance_scale: 5,
    image_guidance_scale: 1.2,
    guidance_rescale: 0.7,
  },
  { name: "CosXL Edit", model: "cosxl_edit", scheduler: "euler", negative_prompt: "blurry", guidance_scale: 3 },
];

async function picture(fields: object): Promise<Uint8Array> {
  const served = await serve(models, { ...request, ...fields });
  assert.ok("pixels" in served, "reason" in served ? served.reason : "");
  return served.pixels;
}

async function reason(fields: object): Promise<string> {
  const served = await serve(models, { ...request, ...fields });
  return "reason" in served ? served.reason : "a picture";
}

suite("a model that edits an image by instructions", () => {
  for (const [row, { name, ...fields }] of CASES.entries()) {
    test(`makes diffusers' picture: ${name}`, async (t) => {
      const pixels = await picture(fields);
      const all = await decodeImage(readFileSync(join(FIXTURES, "pix2pix.png")), { maxPixels: 2 ** 20 });
      const own = all.data.subarray(row * VALUES, (row + 1) * VALUES);
      const found = decibels(
        pixels,
        Float32Array.from(own, (value) => value / 255),
      );
      t.diagnostic(`${name}: ${found.toFixed(1)} dB`);
      assert.ok(found >= 57, `${found} dB`);
    });
  }

  test("takes a ControlNet: its residuals count on every row, in guess mode on the prompt's", async () => {
    const plain = await picture({});
    const hint = { controlnet: "canny", image: uri("sd15/cases/inpaint/control_0.png") };
    assert.deepEqual(await picture({ controls: [{ ...hint, conditioning_scale: 0 }] }), plain);
    const both = [await picture({ controls: [hint] }), await picture({ controls: [hint], guess_mode: true })];
    assert.notDeepEqual(both[0], plain);
    assert.notDeepEqual(both[1], both[0]);
    const untrained = { ...hint, controlnet: "own/untrained" };
    assert.deepEqual(await picture({ controls: [untrained], guess_mode: true }), plain);
  });

  test("refuses what it has no use for, and a request without image, by the field", async () => {
    assert.match(await reason({ image: undefined }), /"edits" edits an image .*: it needs image/);
    assert.match(await reason({ strength: 0.5 }), /begins with noise.*image_guidance_scale/);
    assert.match(await reason({ mask_image: image }), /takes no mask/);
    assert.match(await reason({ image_guidance_scale: 2, guidance_scale: 1 }), /needs a guidance_scale of more than 1/);
    assert.match(
      await reason({ model: "plain", image_guidance_scale: 1.5 }),
      /edit an image by instructions .*which "plain" is not/,
    );
  });

  test("runs at one step, which an image to begin with may leave none of", async () => {
    await picture({ num_inference_steps: 1 });
    assert.match(await reason({ model: "plain", num_inference_steps: 1 }), /strength: of 0.8 leaves none of 1 steps/);
  });

  test("is known in one file by its U-Net's eight channels", () => {
    const file = join(models, "instruct-pix2pix-00-22000.safetensors");
    const first = "model.diffusion_model.input_blocks.0.0.weight";
    const tensors = published("sd1").map(({ name, shape }): [string, { dtype: string; shape: readonly number[] }] => [
      name,
      { dtype: "F16", shape: name === first ? [shape[0]!, 8, ...shape.slice(2)] : shape },
    ]);
    writeFile(file, new Map(tensors));
    assert.equal(shownBeside(openSingleFile(file)), "image");
  });

  test("of a folder whose U-Net is shown no image is refused", async () => {
    const index = { _class_name: "StableDiffusionInstructPix2PixPipeline" };
    cpSync(join(FIXTURES, "sd15/base"), join(models, "not_one"), { recursive: true });
    edit(join(models, "not_one/model_index.json"), index);
    assert.match(await reason({ model: "not_one" }), /InstructPix2PixPipeline whose U-Net takes 4 channels/);
  });
});
