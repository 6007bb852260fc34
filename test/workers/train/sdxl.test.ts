/** SDXL's ControlNets: what a step is told beside the timestep, and a training from its beginning to its end. */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { openBase, openControlNet } from "../../../src/models/base.ts";
import { misfit } from "../../../src/models/fit.ts";
import type { Tensor } from "../../../src/onnx/tensor.ts";
import { TrainingSettings } from "../../../src/schema/training-request.ts";
import { Draws } from "../../../src/training/draws.ts";
import { openControlnetTraining } from "../../../workers/train/controlnet.ts";
import { MemoryError, type MemoryNeed, requireMemory, totalOf } from "../../../workers/train/memory.ts";
import { type Listeners, train } from "../../../workers/train/run.ts";
import { writeCircles } from "../../support/circles.ts";
import { writeTinyBase } from "../../support/tiny-base.ts";

const SETTINGS = TrainingSettings.parse({
  max_train_steps: 3,
  learning_rate: 1e-3,
  train_batch_size: 1,
  resolution: 64,
});

const root = mkdtempSync(join(tmpdir(), "train-xl-"));
const base = join(root, "base");
after(() => rmSync(root, { recursive: true }));
before(async () => {
  await writeCircles(join(root, "circles"), 3, 64);
  writeFileSync(join(root, "validation.json"), JSON.stringify([{ prompt: "x", image: "circles/source/0.png" }]));
  writeTinyBase(base, "sdxl");
});

const folders = (name: string) => ({
  base,
  dataset: join(root, "circles"),
  output: join(root, name, "controlnet"),
  work: join(root, name, "work"),
  validation: join(root, "validation.json"),
});
const silent: Listeners = { onPreparing: () => {}, onStep: () => {}, signal: { aborted: false } };
const rows = ({ dims, data }: Tensor) =>
  Array.from({ length: dims[0]! }, (_, i) =>
    data.slice((i * data.length) / dims[0]!, ((i + 1) * data.length) / dims[0]!),
  );

test("a step is told of both encoders' text, of the pooled text of the second, and of the square as size and target", async () => {
  const feedsOf = async (proportion_empty_prompts: number) => {
    const settings = { ...SETTINGS, train_batch_size: 2, proportion_empty_prompts };
    const subject = await openControlnetTraining(folders("feeds"), settings, silent);
    return subject.feeds(new Draws(settings, subject.count).batch(0));
  };
  const told = await feedsOf(0);
  assert.deepEqual(told.encoder_hidden_states!.dims, [2, 77, 64]);
  assert.deepEqual(told.text_embeds!.dims, [2, 32]);
  assert.deepEqual(rows(told.time_ids!), [
    Float32Array.of(64, 64, 0, 0, 64, 64),
    Float32Array.of(64, 64, 0, 0, 64, 64),
  ]);
  const empty = await feedsOf(1);
  for (const name of ["encoder_hidden_states", "text_embeds"]) {
    const [one, other] = rows(told[name]!);
    assert.notDeepEqual(one, other, `${name} of two prompts`);
    const [none, again] = rows(empty[name]!);
    assert.deepEqual(none, again);
    assert.notDeepEqual(none, one);
    assert.ok(
      none!.some((value) => value !== 0),
      "an empty prompt is encoded as any other: not zeros",
    );
  }
});

test("stopped and gone on with, it comes to the same losses, pictures and weights, and fits its base", async () => {
  let stop = false;
  const stopping: Listeners = {
    ...silent,
    onStep: () => {
      stop = true;
    },
    signal: {
      get aborted() {
        return stop;
      },
    },
  };
  assert.equal(await train("controlnet", folders("halves"), SETTINGS, stopping), false);
  for (const name of ["halves", "whole"]) assert.ok(await train("controlnet", folders(name), SETTINGS, silent));
  const files = (name: string) => {
    const { work, output } = folders(name);
    const pictures = readdirSync(join(work, "validation")).map((file) => join(work, "validation", file));
    assert.equal(pictures.length, 1);
    return [join(work, "loss.csv"), join(output, "diffusion_pytorch_model.safetensors"), ...pictures].map((file) =>
      readFileSync(file),
    );
  };
  assert.deepEqual(files("halves"), files("whole"));
  const { config } = openControlNet(folders("whole").output);
  assert.equal(misfit(openBase(base).unet, config), null);
});

test("what it needs of memory is told before anything is loaded, and is refused with what takes less", async () => {
  const needOf = async (more: object) => {
    let need: MemoryNeed | undefined;
    const onMemory = (told: MemoryNeed) => {
      need = told;
      throw new MemoryError("that is all");
    };
    const asked = train("controlnet", folders("memory"), { ...SETTINGS, ...more }, { ...silent, onMemory });
    await assert.rejects(asked, MemoryError);
    return need!;
  };
  const need = await needOf({});
  const larger = await needOf({ resolution: 128 });
  assert.ok(larger.activations > 2 * need.activations && larger.state === need.state, "a step of four times the cells");
  assert.ok((await needOf({ ema_decay: 0.9 })).state > need.state, "and of an average");
  assert.throws(
    () => requireMemory(need, totalOf(need) - 1),
    /needs about \d+ MB of memory: .* MEMORY_BUDGET allows \d+ MB/,
  );
  requireMemory(need, totalOf(need));
});
