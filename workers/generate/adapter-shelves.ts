/** The shelves of what requests add to a model: how each is opened, and which models it fits. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { type Embedding, embeddingMisfit, openEmbedding } from "../../src/models/embedding.ts";
import { IMAGE_ENCODER, type IpAdapter, ipAdapterMisfit, openIpAdapter } from "../../src/models/ip-adapter.ts";
import { LORA_WEIGHTS, type Lora, loraMisfit, openLora } from "../../src/models/lora/lora.ts";
import { PEFT_CONFIG, PEFT_WEIGHTS } from "../../src/models/lora/peft-config.ts";
import type { BaseModel } from "../../src/models/opened.ts";
import { openT2iAdapter, openT2iAdapterFile, type T2iAdapter, t2iAdapterMisfit } from "../../src/models/t2i-adapter.ts";
import type { Catalog } from "../../src/schema/catalog.ts";
import type { Shelf } from "./shelf.ts";

/** Which models something fits, and why not the others. */
function fits(models: ReadonlyMap<string, BaseModel>, misfit: (model: BaseModel) => string | null) {
  const reasons = [...models].map(([id, model]) => [id, misfit(model)] as const);
  const misfits = reasons.flatMap(([id, reason]) => (reason === null ? [] : [[id, reason] as const]));
  const fitting = reasons.flatMap(([id, reason]) => (reason === null ? [id] : []));
  return {
    models: fitting,
    misfits: Object.fromEntries(misfits),
    warnings: fitting.length > 0 ? [] : misfits.map(([id, reason]) => `does not fit ${id}: ${reason}`),
  };
}

/** For what is one file. */
const noFolder = (what: string) => (): never => {
  throw new Error(`${what} is a file, not a folder`);
};

/** A LoRA as it is published: a repository with one file of a name that all share, diffusers' or peft's. */
function openLoraFolder(folder: string): Lora {
  const found = [LORA_WEIGHTS, PEFT_WEIGHTS].find((name) => existsSync(join(folder, name)));
  if (found !== undefined) return openLora(join(folder, found));
  const names = readdirSync(folder);
  const parts = names.filter((name) => existsSync(join(folder, name, PEFT_CONFIG)));
  if (parts.length === 1) return openLora(join(folder, parts[0]!, PEFT_WEIGHTS));
  const reason =
    parts.length > 1
      ? `${parts.join(" and ")} in it are LoRAs of one network each: put each into ${loras.place} as a folder of its own`
      : names.some((name) => /^(adapter_model|pytorch_lora_weights)\.bin$/.test(name))
        ? "its weights are a pickle, which can run code: save them as .safetensors"
        : `a LoRA is a file, or a folder with ${LORA_WEIGHTS}, or ${PEFT_WEIGHTS} and ${PEFT_CONFIG}`;
  throw new Error(reason);
}

export const loras: Shelf<Lora, Catalog["loras"][number]> = {
  place: "loras",
  openFolder: openLoraFolder,
  openFile: openLora,
  describe: (id, lora, { models }) => ({ id, object: "lora", ...fits(models, (model) => loraMisfit(model, lora)) }),
};

export const embeddings: Shelf<Embedding, Catalog["embeddings"][number]> = {
  place: "embeddings",
  openFolder: noFolder("a textual inversion"),
  openFile: openEmbedding,
  describe: (id, embedding, { models }) => ({
    id,
    object: "embedding",
    token: embedding.token,
    vectors: embedding.shapes[0]![0],
    ...fits(models, (model) => embeddingMisfit(model, embedding)),
  }),
};

export const ip_adapters: Shelf<IpAdapter, Catalog["ip_adapters"][number]> = {
  place: "ip_adapters",
  companion: IMAGE_ENCODER,
  openFolder: noFolder("an IP-Adapter"),
  openFile: openIpAdapter,
  describe: (id, adapter, { models }) => ({
    id,
    object: "ip_adapter",
    kind: adapter.kind,
    ...fits(models, (model) => ipAdapterMisfit(model, adapter)),
  }),
};

export const adapters: Shelf<T2iAdapter, Catalog["adapters"][number]> = {
  place: "adapters",
  openFolder: openT2iAdapter,
  openFile: openT2iAdapterFile,
  describe: (id, adapter, { models }) => ({
    id,
    object: "adapter",
    channels: adapter.config.in_channels,
    size_multiple: adapter.config.downscale_factor,
    ...fits(models, (model) => t2iAdapterMisfit(model, adapter)),
  }),
};
