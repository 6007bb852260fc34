import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { addLoras, formsWith } from "../../../src/diffusion/adapters/loras.ts";
import { grafted } from "../../../src/models/grafted.ts";
import { type Lora, openLora } from "../../../src/models/lora/lora.ts";
import type { Network } from "../../../src/models/network.ts";
import { type Library, openLibrary } from "../../../workers/generate/library.ts";
import { preload } from "../../../workers/generate/preload.ts";
import type { Residents } from "../../../workers/runtime/residents.ts";
import { runOnce } from "../../../workers/runtime/runtime.ts";

const library = openLibrary(join(import.meta.dirname, "../../fixtures/sd15"));
const base = library.models.get("base")!;
const sole: Library = { ...library, models: new Map([["base", base]]) };

const open = (id: string) => library.models.get(id)!;

interface Memory {
  budget: number;
  /** Somebody asks after so many loads. */
  before?: number;
  /** What is in memory already. */
  there?: readonly Network[];
  what?: "all" | "forms";
}

/** What is loaded. */
async function loadedOf(
  from: Library,
  { budget, before = Number.POSITIVE_INFINITY, there = [], what = "all" }: Memory,
) {
  const loaded: Network[] = [];
  const has = (network: Network) => loaded.includes(network) || there.includes(network);
  const residents = {
    budget,
    has,
    load: async (network: Network) => void (has(network) || loaded.push(network)),
  } as unknown as Residents;
  await preload(what, from, open, residents, () => loaded.length >= before);
  return loaded;
}

test("a sole model is loaded before anybody asks, then the ControlNets that fit it", async () => {
  const { text, networks } = base;
  const own = [text[0]!.network, networks.unet, networks.vae_decoder];
  const loaded = await loadedOf(sole, { budget: 1e12 });
  assert.deepEqual(loaded.slice(0, 3), own);
  const fitting = library.catalog.controlnets.filter(({ models }) => models.includes("base"));
  assert.equal(loaded.length, 3 + 2 * fitting.length);
  assert.ok(loaded.includes(library.controlnets.get(fitting[0]!.id)!.on(base).networks.controlnet));
});

test("no more is loaded than half of the memory budget holds", async () => {
  assert.deepEqual(await loadedOf(sole, { budget: 0 }), []);
});

test("of several models none is loaded, and a request ends it", async () => {
  const two: Library = { ...library, models: new Map([...sole.models, ["other", base]]) };
  assert.deepEqual(await loadedOf(two, { budget: 1e12 }), []);
  assert.equal((await loadedOf(sole, { budget: 1e12, before: 2 })).length, 2);
});

const shelf = (name: string) =>
  openLora(join(import.meta.dirname, "../../fixtures/adapters/sd15/loras", `${name}.safetensors`));
const [attention, other] = [shelf("kohya_attn"), shelf("full_diff")];
const shelved = (loras: Record<string, Lora>, models: string[] = ["base"]): Library => ({
  ...sole,
  loras: new Map(Object.entries(loras)),
  catalog: {
    ...library.catalog,
    loras: Object.keys(loras).map((id) => ({ id, object: "lora", models, misfits: {}, warnings: [] })),
  },
});

test("where LoRA fit the sole model, the form that most of them take is loaded last", async () => {
  const from = shelved({ a: other, b: attention, c: attention });
  const loaded = await loadedOf(from, { budget: 1e12 });
  const forms = formsWith(base, attention);
  assert.deepEqual(
    forms.map(({ grafted }) => grafted!.trunk),
    [base.networks.unet, base.text[0]!.network],
  );
  assert.deepEqual(loaded.slice(-2), forms);
  assert.equal(loaded.length, (await loadedOf(sole, { budget: 1e12 })).length + 2);
  assert.equal((await loadedOf(shelved({ a: attention }, []), { budget: 1e12 })).length, loaded.length - 2);
  const chosen = [{ id: "a", lora: attention, scale: 0.5 }];
  const { unet } = await addLoras(base, chosen, (network) => runOnce(network.graph()), 1e9);
  assert.equal(grafted(base.networks.unet, unet.grafts), forms[0], "it is what a request with the LoRA runs");
});

test("in a quiet moment the form that takes LoRA is loaded, where the weights that it shares are", async () => {
  const from = shelved({ a: attention });
  const { unet } = base.networks;
  const [form] = formsWith(base, attention);
  const quiet = { budget: 1e12, what: "forms" } as const;
  assert.deepEqual(await loadedOf(from, quiet), []);
  assert.deepEqual(await loadedOf(from, { ...quiet, there: [unet] }), [form]);
  assert.deepEqual(await loadedOf(from, { ...quiet, there: [unet, form!] }), []);
  assert.deepEqual(await loadedOf(from, { ...quiet, there: [unet], before: 0 }), []);
});
