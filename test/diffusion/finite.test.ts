/** Values that are not finite end a generation, with the network and the step that they come from; they never become a picture. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { NotFinite } from "../../src/diffusion/finite.ts";
import { loadControlNet, loadModel } from "../../src/diffusion/load.ts";
import type { Run } from "../../src/diffusion/model.ts";
import { prepare } from "../../src/diffusion/pipeline.ts";
import { hint, sample } from "../../src/image/hint.ts";
import { openBase, openControlNet } from "../../src/models/base.ts";
import { finish, HASH, readImage, request, runner, SD15 } from "../support/tiny.ts";

const model = loadModel(openBase(join(SD15, "base")), runner, runner);
const canny = loadControlNet(openControlNet(join(SD15, "controlnets/canny")), runner, runner);

/** The run, with one value of its outputs not finite from its n-th time on. */
function broken(run: Run, value: number, n = 1): Run {
  let times = 0;
  return async (feeds) => {
    const outputs = await run(feeds);
    if (++times < n) return outputs;
    const spoil = <T extends { data: unknown }>(tensor: T): T => {
      if (!(tensor.data instanceof Float32Array)) return tensor;
      const data = tensor.data.slice();
      data[data.length >> 1] = value;
      return { ...tensor, data };
    };
    return Object.fromEntries(Object.entries(outputs).map(([name, tensor]) => [name, spoil(tensor)]));
  };
}

const { run } = model;
const tower = model.text[0]!;
const CASES = {
  "the U-Net": [{ ...model, run: { ...run, unet: broken(run.unet, Number.NaN, 3) } }, canny, /the U-Net.* step 3 of 4/],
  "the U-Net, infinite": [
    { ...model, run: { ...run, unet: broken(run.unet, Number.NEGATIVE_INFINITY) } },
    canny,
    /the U-Net.* step 1 of 4/,
  ],
  "a ControlNet": [
    model,
    { ...canny, run: { ...canny.run, controlnet: broken(canny.run.controlnet, Number.NaN, 2) } },
    /the ControlNet "any" gave.* step 2 of 4/,
  ],
  "a hint encoder": [
    model,
    { ...canny, run: { ...canny.run, hint: broken(canny.run.hint, Number.NaN) } },
    /the hint encoder of the ControlNet "any"/,
  ],
  "the text encoder": [
    { ...model, text: [{ ...tower, run: broken(tower.run, Number.POSITIVE_INFINITY) }] },
    canny,
    /the text encoder/,
  ],
  "the VAE's encoder": [
    { ...model, run: { ...run, vae_encoder: broken(run.vae_encoder, Number.NaN) } },
    canny,
    /the VAE's encoder/,
  ],
  "the VAE's decoder": [
    { ...model, run: { ...run, vae_decoder: broken(run.vae_decoder, Number.NaN) } },
    canny,
    /the VAE's decoder/,
  ],
} as const;

for (const [name, [base, controlnet, says]] of Object.entries(CASES)) {
  test(`${name} with a value that is not finite`, async () => {
    const image = await readImage("canny_depth/control_0.png", sample);
    const images = {
      hints: [[() => readImage("canny_depth/control_0.png", hint)]],
      masks: [null],
      source: { image, mask: null },
    };
    const generate = async () =>
      finish(await prepare(request({ image: HASH, strength: 1 }, [{}]), base, [controlnet], images));
    await assert.rejects(generate(), (error) => error instanceof NotFinite && says.test(error.message));
  });
}

test("a prompt's weights beyond all bounds", async () => {
  const none = { hints: [], masks: [], source: null };
  const fields = { prompt: `a (red:${"9".repeat(39)}) house`, prompt_syntax: "weighted" };
  await assert.rejects(async () => finish(await prepare(request(fields), model, [], none)), /finite|weight/);
});
