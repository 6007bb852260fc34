/** Models by name, from a hub on this machine: what is fetched, from where, and what becomes of cuts and wrong sums. */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, beforeEach, test } from "node:test";
import { Hub } from "../../src/hub/hub.ts";
import { findPulled, listPulled, type PullListener, pull, pulledId, removePulled } from "../../src/hub/pull.ts";
import { openLibrary } from "../../workers/generate/library.ts";
import { filesBelow, localHub } from "../support/hub.ts";

const SD15 = join(import.meta.dirname, "../fixtures/sd15");
const LORA = join(import.meta.dirname, "../fixtures/adapters/sd15/loras/kohya_attn.safetensors");
const bytes = (text: string) => new Uint8Array(Buffer.from(text));

const base = filesBelow(join(SD15, "base"));
const canny = filesBelow(join(SD15, "controlnets/canny"));
const UNET = "unet/diffusion_pytorch_model.safetensors";
/** As the published repositories are: several forms of the same weights, and parts that no picture needs. */
const published = new Map([
  ...base,
  ["unet/diffusion_pytorch_model.fp16.safetensors", base.get(UNET)!],
  ["unet/diffusion_pytorch_model.bin", bytes("pickle")],
  ["unet/diffusion_pytorch_model.non_ema.safetensors", bytes("more")],
  ["safety_checker/model.safetensors", bytes("checker")],
  ["v1-5-pruned.safetensors", bytes("the same in one file")],
  ["README.md", bytes("# A model")],
]);
const hub = await localHub(
  new Map<string, ReadonlyMap<string, Uint8Array>>([
    ["org/model", published],
    ["org/canny", canny],
    ["org/lora", new Map([["pytorch_lora_weights.safetensors", new Uint8Array(readFileSync(LORA))]])],
    ["org/pickles", new Map([["control_sd15_canny.pth", bytes("pickle")]])],
    [
      "org/several",
      new Map([
        ["a.safetensors", bytes("a")],
        ["b.safetensors", bytes("b")],
      ]),
    ],
    ["org/flux", new Map([["model_index.json", bytes('{"_class_name": "FluxPipeline"}')]])],
    ["org/escape", new Map([...canny, ["../escaped.json", bytes("{}")]])],
  ]),
);
const dir = mkdtempSync(join(tmpdir(), "hub-"));
after(async () => {
  await hub.close();
  rmSync(dir, { recursive: true });
});
beforeEach(() => {
  hub.requests.length = 0;
  hub.manners = {};
});

const quiet: PullListener = { onChosen() {}, onBytes() {} };
const asked = (name: string, more: object = {}) => ({
  ...{ name, revision: "main", variant: null, file: null, shelf: null },
  ...more,
});
const client = (more: object = {}) => new Hub({ HF_ENDPOINT: hub.endpoint, ...more });
let folders = 0;
const newFolder = () => join(dir, `models-${folders++}`);
const pathsOf = (models: string, name: string) =>
  findPulled(models, name)!
    .files.map(({ path }) => path)
    .sort();

test("a model is fetched by its name: safetensors, configs and tokenizer, each once, and is served under that name", async () => {
  const models = newFolder();
  const pulled = await pull(client(), models, asked("org/model"), quiet);
  assert.equal(pulled.license, "creativeml-openrail-m");
  assert.deepEqual(pathsOf(models, "org/model"), [...base.keys()].sort());
  const { catalog } = openLibrary(models);
  assert.deepEqual(
    catalog.models.map(({ id }) => id),
    ["org/model"],
  );
  assert.deepEqual(catalog.skipped, []);
  assert.deepEqual(new Uint8Array(readFileSync(join(models, "org/model", UNET))), base.get(UNET));
  assert.deepEqual(readdirSync(join(models, ".pulling")), []);
});

test("--variant fp16 takes half-precision weights where they are there, and the plain ones where not", async () => {
  const models = newFolder();
  await pull(client(), models, asked("org/model", { variant: "fp16" }), quiet);
  const weights = pathsOf(models, "org/model").filter((path) => path.endsWith(".safetensors"));
  assert.deepEqual(weights, [
    "text_encoder/model.safetensors",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
  ]);
  assert.deepEqual(
    openLibrary(models).catalog.models.map(({ id }) => id),
    ["org/model"],
  );
});

test("a ControlNet goes on its shelf, where it fits the model", async () => {
  const models = newFolder();
  await pull(client(), models, asked("org/model"), quiet);
  assert.equal(pulledId(await pull(client(), models, asked("org/canny"), quiet)), "org/canny");
  const [controlnet] = openLibrary(models).catalog.controlnets;
  assert.deepEqual([controlnet?.id, controlnet?.models], ["org/canny", ["org/model"]]);
});

test("a LoRA's repository goes on its shelf, by the repository's name", async () => {
  const models = newFolder();
  await pull(client(), models, asked("org/model"), quiet);
  assert.equal(pulledId(await pull(client(), models, asked("org/lora"), quiet)), "org/lora");
  const { loras, skipped } = openLibrary(models).catalog;
  assert.deepEqual([loras.map(({ id, models }) => [id, models]), skipped], [[["org/lora", ["org/model"]]], []]);
});

test("a connection that is cut again and again goes on where it was cut", async () => {
  const models = newFolder();
  hub.manners = { cutAfter: 400_000 };
  await pull(client(), models, asked("org/model"), { ...quiet, onBytes: () => hub.cut() });
  const ranges = hub.requests.flatMap(({ path, range }) => (path === `store /org/model/${UNET}` ? [range] : []));
  assert.equal(ranges[0], undefined);
  assert.ok(ranges.length >= base.get(UNET)!.length / 400_000, `${ranges.length} requests`);
  const starts = ranges.slice(1).map((range) => Number(/^bytes=(\d+)-$/.exec(range!)![1]));
  assert.deepEqual(
    starts,
    starts.toSorted((a, b) => a - b),
  );
  assert.deepEqual(new Uint8Array(readFileSync(join(models, "org/model", UNET))), base.get(UNET));
});

test("a hub that gives up loses nothing: the same command goes on; till then there is no half model", async () => {
  const models = newFolder();
  hub.manners = { cutAfter: 0 };
  await assert.rejects(pull(client(), models, asked("org/model"), quiet), /the same command goes on/);
  assert.deepEqual(openLibrary(models).catalog, { ...openLibrary(newFolder()).catalog });
  hub.manners = {};
  await pull(client(), models, asked("org/model"), quiet);
  assert.equal(openLibrary(models).catalog.models.length, 1);
});

test("a hub that knows no ranges is asked for the whole again", async () => {
  const models = newFolder();
  const half = Math.floor(base.get(UNET)!.length / 2);
  hub.manners = { cutAfter: half };
  const onBytes: PullListener["onBytes"] = ({ path }) => {
    if (path === UNET) hub.manners = { ignoresRanges: true };
    hub.cut();
  };
  await pull(client(), models, asked("org/model"), { ...quiet, onBytes });
  assert.deepEqual(new Uint8Array(readFileSync(join(models, "org/model", UNET))), base.get(UNET));
});

for (const [what, path] of [
  ["a large file", UNET],
  ["a small file", "unet/config.json"],
] as const) {
  test(`${what} of another sum than the hub's is thrown away, and nothing is served`, async () => {
    const models = newFolder();
    hub.manners = { spoiled: [path] };
    await assert.rejects(
      pull(client(), models, asked("org/model"), quiet),
      /(sha256|git sum) is .*, the hub says .*: thrown away/,
    );
    assert.ok(!existsSync(join(models, "org/model")));
    hub.manners = {};
    await pull(client(), models, asked("org/model"), quiet);
    assert.equal(openLibrary(models).catalog.models.length, 1);
  });
}

test("the token goes to the hub, and not to where it redirects to", async () => {
  hub.manners = { token: "hf_secret" };
  await assert.rejects(pull(client(), newFolder(), asked("org/model"), quiet), /HF_TOKEN/);
  hub.requests.length = 0;
  await pull(client({ HF_TOKEN: "hf_secret" }), newFolder(), asked("org/model"), quiet);
  for (const { path, token } of hub.requests) {
    assert.equal(token, path.startsWith("hub ") ? "Bearer hf_secret" : undefined, path);
  }
  assert.ok(hub.requests.some(({ path }) => path.startsWith("store ")));
});

test("what was fetched is listed, is not fetched again, and can be removed; what was not, cannot", async () => {
  const models = newFolder();
  await pull(client(), models, asked("org/canny"), quiet);
  hub.requests.length = 0;
  await pull(client(), models, asked("org/canny"), quiet);
  // config.json says what it is.
  assert.deepEqual(hub.requests.filter(({ path }) => /resolve|store/.test(path)).length, 1);
  assert.deepEqual(
    listPulled(models).map(({ name, shelf }) => [name, shelf]),
    [["org/canny", "controlnets"]],
  );
  removePulled(models, "org/canny");
  assert.deepEqual(listPulled(models), []);
  assert.deepEqual(openLibrary(models).catalog.controlnets, []);
  assert.throws(() => removePulled(models, "org/canny"), /was not fetched/);
});

for (const [name, reason, more] of [
  ["org/nothing", /org\/nothing at main: it is not there/],
  ["org/pickles", /holds no model/],
  ["org/several", /2 models: name one by --file: a\.safetensors, b\.safetensors/],
  ["org/several", /it has no c\.safetensors/, { file: "c.safetensors" }],
  ["org/flux", /FluxPipeline \(Flux\) is not one of/],
  ["../escape", /not the name of a repository/],
  ["model", /not the name of a repository/],
] as const) {
  test(`${name}${more === undefined ? "" : " --file"}: refused with a reason, before weights are fetched`, async () => {
    await assert.rejects(pull(client(), newFolder(), asked(name, more), quiet), reason);
    assert.deepEqual(
      hub.requests.filter(({ path }) => path.startsWith("store ")),
      [],
    );
  });
}

test("a path that leaves the folder is not fetched", async () => {
  const models = newFolder();
  await pull(client(), models, asked("org/escape"), quiet);
  assert.ok(!existsSync(join(models, "escaped.json")) && !existsSync(join(models, "controlnets/org/escaped.json")));
});
