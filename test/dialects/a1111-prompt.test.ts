/** What is read out of a prompt that was written for AUTOMATIC1111's web UI. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { readPrompt, refuseUnread, writtenIn } from "../../src/gateway/dialects/a1111/prompt.ts";
import { translate } from "../../src/gateway/dialects/a1111/translate.ts";
import { CATALOG } from "../support/gateway.ts";

test("LoRA tags are taken out of the prompt, with their weights in every form", () => {
  const { prompt, loras } = readPrompt(
    "a (cat:1.2) <lora:pixel-art:0.8>, [fog] <lora:b> <lyco:c:0.5:0.5><lora:d:te=-1:unet=-1>",
  );
  assert.equal(prompt, "a (cat:1.2) , [fog]  ");
  assert.deepEqual(loras, [
    { name: "pixel-art", scale: 0.8 },
    { name: "b", scale: 1 },
    { name: "c", scale: 0.5 },
    { name: "d", scale: -1 },
  ]);
});

const REFUSED: [prompt: string, says: RegExp][] = [
  ["<lora:a:0.5:0.8>", /one weight/],
  ["<lora:a:x>", /number/],
  ["<lora:a:1:1:4>", /dynamic ranks/],
  ["<lora:a:dyn=4>", /"dyn"/],
  ["<hypernet:a:1>", /hypernet/],
  ["a [cat:dog:0.5]", /on the way/],
  ["a [cat:10]", /on the way/],
  ["a [cat|dog]", /alternate/],
  ["a cat AND a dog", /AND/],
];
for (const [prompt, says] of REFUSED) {
  test(`${prompt} is refused by name`, () => assert.throws(() => readPrompt(prompt), says));
}

test("what only looks like such syntax is text", () => {
  for (const prompt of [
    "a cat and a dog, SAND",
    "at 10:30",
    "(a:1.2)",
    "[fog]",
    "a \\[b|c\\]",
    "x | y",
    "ratio 4:3 [dark]",
  ]) {
    assert.doesNotThrow(() => refuseUnread("prompt", prompt), prompt);
  }
});

test("a textual inversion is used where its name stands as a word", () => {
  const names = ["easynegative", "cat-toy", "bad"];
  assert.deepEqual(writtenIn(["a cat-toy, (easynegative:1.1)", "badly"], names), ["easynegative", "cat-toy"]);
});

test("a model that edits by instructions begins with noise, and keeps to the image by image_cfg_scale", async () => {
  const [base] = CATALOG.models;
  const catalog = { ...CATALOG, models: [{ ...base!, id: "edits", instruct_pix2pix: true }] };
  const options = { sd_model_checkpoint: "edits", CLIP_stop_at_last_layers: 1 };
  const body = { prompt: "make it snow", init_images: ["iVBORw0KGgo="], image_cfg_scale: 2, denoising_strength: 1 };
  const { input } = await translate(body, options, catalog, async (mask) => mask);
  assert.deepEqual([input.image_guidance_scale, input.strength], [2, undefined]);
  const partly = translate({ ...body, denoising_strength: 0.6 }, options, catalog, async (mask) => mask);
  await assert.rejects(partly, /denoising_strength.*"edits".*must be 1/);
});
