import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import type { Network } from "../../../src/models/network.ts";
import { type Library, openLibrary } from "../../../workers/generate/library.ts";
import { preload } from "../../../workers/generate/preload.ts";
import type { Residents } from "../../../workers/runtime/residents.ts";

const library = openLibrary(join(import.meta.dirname, "../../fixtures/sd15"));
const base = library.models.get("base")!;
const sole: Library = { ...library, models: new Map([["base", base]]) };

/** What is loaded, with as many bytes of room; asked for after so many. */
async function loadedOf(from: Library, budget: number, before = Number.POSITIVE_INFINITY): Promise<Network[]> {
  const loaded: Network[] = [];
  const residents = { budget, load: async (network: Network) => void loaded.push(network) } as unknown as Residents;
  await preload(from, residents, () => loaded.length >= before);
  return loaded;
}

test("a sole model is loaded before anybody asks, then the ControlNets that fit it", async () => {
  const { text, networks } = base;
  const own = [text[0]!.network, networks.unet, networks.vae_decoder];
  const loaded = await loadedOf(sole, 1e12);
  assert.deepEqual(loaded.slice(0, 3), own);
  const fitting = library.catalog.controlnets.filter(({ models }) => models.includes("base"));
  assert.equal(loaded.length, 3 + 2 * fitting.length);
  assert.ok(loaded.includes(library.controlnets.get(fitting[0]!.id)!.on(base).networks.controlnet));
});

test("no more is loaded than half of the memory budget holds", async () => {
  assert.deepEqual(await loadedOf(sole, 0), []);
});

test("of several models none is loaded, and a request ends it", async () => {
  const two: Library = { ...library, models: new Map([...sole.models, ["other", base]]) };
  assert.deepEqual(await loadedOf(two, 1e12), []);
  assert.equal((await loadedOf(sole, 1e12, 2)).length, 2);
});
