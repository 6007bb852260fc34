/** The safety checker over HTTP: what it says is told or carried out, by API key, and nothing shows a picture that is to be black. */
import assert from "node:assert/strict";
import { cp, mkdir, symlink } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { decodeImage } from "../../src/image/decode.ts";
import type { Model } from "../../src/schema/catalog.ts";
import type { Generation } from "../../src/schema/generation.ts";
import { temporaryFolder } from "../support/processes.ts";
import { readRaw, writeRaw } from "../support/rewrite.ts";
import { startService, TINY_MODELS } from "../support/service.ts";

const CHECKER = join(import.meta.dirname, "../fixtures/safety_checker");
const KEYS = {
  off: "key-of-who-is-not-checked",
  flag: "key-of-who-is-told-of-it",
  blank: "key-of-who-gets-black-ones",
};
type Mode = keyof typeof KEYS;

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());
let url = "";

/** A checkpoint of MODELS_DIR with a safety checker that flags all, or none: each cosine is between −1 and 1. */
async function withChecker(models: string, id: string, threshold: number): Promise<void> {
  await mkdir(join(models, id));
  for (const part of ["model_index.json", "unet", "vae", "text_encoder", "tokenizer", "scheduler"]) {
    await symlink(join(TINY_MODELS, "base", part), join(models, id, part));
  }
  const folder = join(models, id, "safety_checker");
  await cp(CHECKER, folder, { recursive: true });
  const tensors = readRaw(join(folder, "model.safetensors"));
  for (const [name, count] of [
    ["concept_embeds_weights", 17],
    ["special_care_embeds_weights", 3],
  ] as const) {
    const bytes = new Uint8Array(new Float32Array(count).fill(threshold).buffer);
    tensors.set(name, { dtype: "F32", shape: [count], bytes });
  }
  writeRaw(join(folder, "model.safetensors"), tensors);
}

before(async () => {
  const models = await temporaryFolder(stack);
  await withChecker(models, "strict", -2);
  await withChecker(models, "mild", 2);
  await symlink(join(TINY_MODELS, "base"), join(models, "bare"));
  const env = {
    MODELS_DIR: models,
    SAFETY_CHECKER: "flag",
    API_KEYS: `a:${KEYS.off}:off,b:${KEYS.flag},c:${KEYS.blank}:blank`,
  };
  url = (await startService(stack, { work: true }, env)).url;
});

const REQUEST = { prompt: "a house", seed: 3, num_inference_steps: 2, width: 64, height: 64 };

async function send(path: string, mode: Mode, body?: object, more: Record<string, string> = {}) {
  return fetch(`${url}${path}`, {
    method: body === undefined ? "GET" : "POST",
    headers: { authorization: `Bearer ${KEYS[mode]}`, "content-type": "application/json", ...more },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
}

async function generate(mode: Mode, model: string, more: object = {}): Promise<Generation> {
  const made = (await (
    await send("/v1/generations", mode, { ...REQUEST, model, ...more }, { prefer: "wait=50" })
  ).json()) as Generation;
  assert.equal(made.status, "succeeded", JSON.stringify(made));
  return made;
}

const bytesOf = async (address: string, mode: Mode) =>
  (await fetch(address, { headers: { authorization: `Bearer ${KEYS[mode]}` } })).bytes();

const isBlack = async (bytes: Uint8Array) =>
  (await decodeImage(bytes, { maxPixels: 2 ** 20 })).data.every((value) => value === 0);

test("off: no picture is checked; flag: each says what was found, and is the same, byte for byte", async () => {
  const plain = await generate("off", "strict");
  assert.deepEqual([plain.images[0]!.flagged, plain.warnings], [null, []]);
  for (const [model, flagged] of [
    ["strict", true],
    ["mild", false],
  ] as const) {
    const told = await generate("flag", model);
    assert.equal(told.images[0]!.flagged, flagged);
    assert.equal(told.images[0]!.sha256, plain.images[0]!.sha256);
  }
  assert.equal((await generate("blank", "mild")).images[0]!.sha256, plain.images[0]!.sha256);
});

test("blank: what is flagged is black, with a warning, in every format and however it is fetched", async () => {
  const made = await generate("blank", "strict", {
    num_images: 2,
    response: "base64",
    preview: true,
    output_format: "webp",
  });
  assert.deepEqual(
    made.images.map(({ flagged }) => flagged),
    [true, true],
  );
  for (const { url: address, base64 } of made.images) {
    const bytes = await bytesOf(address, "blank");
    assert.ok(await isBlack(bytes));
    assert.deepEqual(Buffer.from(base64!, "base64"), Buffer.from(bytes));
  }
  assert.deepEqual(made.warnings, [
    "preview: none is sent, because pictures are checked before they are shown",
    "images[0] is black: the safety checker has flagged what was made",
    "images[1] is black: the safety checker has flagged what was made",
  ]);
  const events = await (await send(`/v1/generations/${made.id}/events`, "blank")).text();
  assert.match(events, /event: progress/);
  assert.doesNotMatch(events, /data:image/);
  const inline = await send(
    "/v1/generations",
    "blank",
    { ...REQUEST, model: "strict" },
    { prefer: "wait=50", accept: "image/png" },
  );
  assert.equal(inline.headers.get("content-type"), "image/png");
  assert.ok(await isBlack(await inline.bytes()));
});

test("the other APIs give the black picture too, and no preview of it", async () => {
  const openai = { prompt: "a house", model: "strict", size: "64x64", num_inference_steps: 2 };
  const { data } = (await (
    await send("/v1/images/generations", "blank", { ...openai, response_format: "b64_json" })
  ).json()) as {
    data: { b64_json: string }[];
  };
  assert.ok(await isBlack(Buffer.from(data[0]!.b64_json, "base64")));
  const streamed = await (
    await send("/v1/images/generations", "blank", { ...openai, stream: true, partial_images: 1 })
  ).text();
  assert.match(streamed, /image_generation.completed/);
  assert.doesNotMatch(streamed, /partial_image"/);
  const a1111 = {
    prompt: "a house",
    steps: 2,
    width: 64,
    height: 64,
    override_settings: { sd_model_checkpoint: "strict" },
  };
  const { images } = (await (await send("/sdapi/v1/txt2img", "blank", a1111)).json()) as { images: string[] };
  assert.ok(await isBlack(Buffer.from(images[0]!, "base64")));
  const replicate = { version: "strict", input: { prompt: "a house", num_inference_steps: 2, width: 64, height: 64 } };
  const { output } = (await (
    await send("/replicate/v1/predictions", "blank", replicate, { prefer: "wait=50" })
  ).json()) as {
    output: string[];
  };
  assert.ok(await isBlack(await (await fetch(output[0]!)).bytes()));
});

test("a model without a safety checker: flag says that its pictures are not checked, blank makes none", async () => {
  const told = await generate("flag", "bare");
  assert.equal(told.images[0]!.flagged, null);
  assert.deepEqual(told.warnings, ['"bare" has no safety checker: the pictures are not checked']);
  const refused = await send("/v1/generations", "blank", { ...REQUEST, model: "bare" });
  const { code, errors } = (await refused.json()) as { code: string; errors: { path: string; message: string }[] };
  assert.deepEqual([refused.status, code, errors[0]!.path], [422, "field_does_not_fit", "model"]);
  assert.match(errors[0]!.message, /"bare" has no safety checker/);
});

test("GET /v1/models says for each key what becomes of flagged pictures", async () => {
  const said = async (mode: Mode) => {
    const { data } = (await (await send("/v1/models", mode)).json()) as { data: Model[] };
    return Object.fromEntries(
      data.map(({ id, safety_checker, warnings }) => [
        id,
        [safety_checker, ...warnings.filter((one) => /safety|checked/.test(one))],
      ]),
    );
  };
  const off = await said("off");
  assert.deepEqual([off.strict, off.bare], [["off", "safety_checker is not run"], ["none"]]);
  assert.deepEqual((await said("flag")).mild, ["flag"]);
  const blank = await said("blank");
  assert.deepEqual([blank.mild![0], blank.bare![0]], ["blank", "none"]);
  assert.match(blank.bare![1]!, /generations are refused/);
  const one = (await (await send("/v1/models/mild", "blank")).json()) as Model;
  assert.equal(one.safety_checker, "blank");
});
