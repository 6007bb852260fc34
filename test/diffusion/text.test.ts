/** What the networks are told of prompts, against transformers and AUTOMATIC1111's web UI (fixtures/make/text.py). */
import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, suite, test } from "node:test";
import { relative } from "../../check/modules.ts";
import { readTensors } from "../../check/tensors.ts";
import { loadModel } from "../../src/diffusion/load.ts";
import type { LoadedModel } from "../../src/diffusion/model.ts";
import { encodePrompts, maxClipSkip, pooling } from "../../src/diffusion/text.ts";
import { openBase } from "../../src/models/base.ts";
import type { Network } from "../../src/models/network.ts";
import type { Tensor } from "../../src/onnx/tensor.ts";
import { CPU, openSession, type Session } from "../../workers/runtime/runtime.ts";
import { readRaw, writeRaw } from "../support/rewrite.ts";

const fixtures = join(import.meta.dirname, "../fixtures");
const expected = readTensors(join(fixtures, "text.safetensors"));
const BOUND = 1e-5;

type Request = Parameters<typeof encodePrompts>[1];
const request = (fields: Partial<Request>): Request => ({
  prompt: "a red house",
  negative_prompt: null,
  prompt_syntax: "plain",
  long_prompt: "truncate",
  clip_skip: null,
  ...fields,
});

const sessions: Session[] = [];
after(() => Promise.all(sessions.map((session) => session.release())));

/** A base model; `runs` counts the runs of its text towers. */
function load(folder: string): { model: LoadedModel; runs: () => number } {
  let count = 0;
  const runner = (network: Network) => {
    let session: Promise<Session> | undefined;
    return async (feeds: Readonly<Record<string, Tensor>>) => {
      count++;
      session ??= openSession(network.graph(), CPU);
      const opened = await session;
      if (!sessions.includes(opened)) sessions.push(opened);
      return opened.run(feeds);
    };
  };
  return { model: loadModel(openBase(folder), runner, runner), runs: () => count };
}
const folderOf = (family: string) => join(fixtures, family, "base");
const families = { sd15: load(folderOf("sd15")), sd21: load(folderOf("sd21")), sdxl: load(folderOf("sdxl")) };

const near = (actual: Tensor, key: string) => {
  assert.deepEqual([...actual.dims], [...expected.get(key)!.dims]);
  const error = relative(actual, expected.get(key)!);
  assert.ok(error <= BOUND, `${key}: ${error}`);
};

suite("text", () => {
  const cases = JSON.parse(readFileSync(join(fixtures, "text.json"), "utf8")) as {
    family: keyof typeof families;
    name: string;
    request: Partial<Request>;
  }[];
  for (const { family, name, request: fields } of cases) {
    test(`${family} is told of "${name}" what the reference tells it`, async () => {
      const encoded = await encodePrompts(families[family].model, request(fields), true);
      near(encoded.encoder_hidden_states, `${family}.${name}.hidden`);
      if (family === "sdxl") near(encoded.text_embeds!, `${family}.${name}.pooled`);
      assert.deepEqual(encoded.warnings, []);
    });
  }

  test("SDXL's pooled text is the second tower's, also where the first tower's file has a projection", async (t) => {
    const folder = mkdtempSync(join(tmpdir(), "text-"));
    t.after(() => rmSync(folder, { recursive: true }));
    cpSync(folderOf("sdxl"), folder, { recursive: true });
    const [first, second] = ["text_encoder", "text_encoder_2"].map((part) => join(folder, part, "model.safetensors"));
    const projection = readRaw(second!).get("text_projection.weight")!;
    writeRaw(first!, new Map([...readRaw(first!), ["text_projection.weight", projection]]));
    const encoded = await encodePrompts(load(folder).model, request({}), true);
    assert.deepEqual(encoded, await encodePrompts(families.sdxl.model, request({}), true));
  });

  test("without guidance there is the prompt's row alone, the same bytes", async () => {
    const { model } = families.sdxl;
    const both = await encodePrompts(model, request({ negative_prompt: "blurry" }), true);
    const alone = await encodePrompts(model, request({ negative_prompt: "blurry" }), false);
    for (const name of ["encoder_hidden_states", "text_embeds"] as const) {
      assert.deepEqual(alone[name]!.dims[0], 1);
      assert.deepEqual(alone[name]!.data, both[name]!.data.subarray(both[name]!.data.length / 2));
    }
  });

  test("SDXL without a negative prompt is told zeros, and no tower is run for them", async () => {
    const { model, runs } = families.sdxl;
    const before = runs();
    const { encoder_hidden_states, text_embeds } = await encodePrompts(model, request({}), true);
    assert.equal(runs() - before, 2);
    for (const { data } of [encoder_hidden_states, text_embeds!]) {
      assert.ok(data.subarray(0, data.length / 2).every((value) => value === 0));
      assert.ok(data.subarray(data.length / 2).some((value) => value !== 0));
    }
  });

  test("an empty negative prompt is the empty text, and so is an absent one where nothing forces zeros", async () => {
    const { model } = families.sdxl;
    const empty = await encodePrompts(model, request({ negative_prompt: "" }), true);
    const absent = await encodePrompts({ ...model, force_zeros_for_empty_prompt: false }, request({}), true);
    assert.deepEqual(absent, empty);
    assert.ok(empty.encoder_hidden_states.data.subarray(0, 64).some((value) => value !== 0));
    const sd15 = families.sd15.model;
    assert.deepEqual(
      await encodePrompts(sd15, request({}), true),
      await encodePrompts(sd15, request({ negative_prompt: "" }), true),
    );
  });

  test("weights of 1 change not one byte", async () => {
    const { model } = families.sd15;
    const plain = await encodePrompts(model, request({ prompt: "a red house" }), true);
    const weighted = await encodePrompts(
      model,
      request({ prompt: "a (red:1) house", prompt_syntax: "weighted" }),
      true,
    );
    assert.deepEqual(weighted, plain);
  });

  test("what is cut off is told once, also where two towers read it", async () => {
    const prompt = `${"a ".repeat(75)}house`;
    const { warnings } = await encodePrompts(families.sdxl.model, request({ prompt, negative_prompt: prompt }), true);
    assert.deepEqual(warnings, ['a prompt is longer than the text encoder reads; cut off: "house"']);
  });

  test("clip_skip goes down to the word embeddings and no further", async () => {
    for (const { model } of Object.values(families)) {
      const most = maxClipSkip(model);
      assert.equal(most, model.text[0]!.config.num_hidden_layers - (model.text.length - 1));
      await encodePrompts(model, request({ clip_skip: most }), true);
      await assert.rejects(
        encodePrompts(model, request({ clip_skip: most + 1 }), true),
        new RegExp(`clip_skip is ${most + 1}: .* ${most} layers at most`),
      );
    }
  });

  test("weights beyond all numbers are refused", async () => {
    const weights = request({ prompt: `${"(".repeat(8000)}red`, prompt_syntax: "weighted" });
    await assert.rejects(encodePrompts(families.sd15.model, weights, false), /weights of the prompt are too large/);
  });

  test("the text as a whole is read at the first end token, by old configs at the highest id", () => {
    assert.deepEqual([...pooling([9, 1, 8, 8], 8)], [0, 0, 1, 0]);
    assert.deepEqual([...pooling([3, 1, 8, 8], 2)], [0, 0, 1, 0]);
  });
});
