/** MODELS_DIR/decoders: tiny autoencoders for the models that bring none, each under the name of the families that it is for. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { BaseModel } from "../../src/models/opened.ts";
import { openTinyDecoder, type TinyDecoder, tinyDecoderMisfit } from "../../src/models/tiny-decoder.ts";
import type { Model, Unavailable } from "../../src/schema/catalog.ts";

export const DECODERS = "decoders";

type Family = Model["family"];

/** Families by the names of folders: their own, and those of github.com/madebyollin/taesd. A config does not tell. */
const NAMES: Readonly<Record<string, readonly Family[]>> = {
  sd1: ["sd1"],
  sd2: ["sd2"],
  sdxl: ["sdxl"],
  taesd: ["sd1", "sd2"],
  taesdxl: ["sdxl"],
};

export type TinyDecoders = ReadonlyMap<Family, { readonly name: string; readonly decoder: TinyDecoder }>;

/** A family's own name goes before a published one. @param skipped is told what cannot be used, and why */
export function openDecoders(dir: string, skipped: Unavailable[]): TinyDecoders {
  const folder = join(dir, DECODERS);
  const found = new Map<Family, { name: string; decoder: TinyDecoder }>();
  const names = existsSync(folder) ? readdirSync(folder).filter((name) => !name.startsWith(".")) : [];
  for (const name of names.sort()) {
    const path = join(folder, name);
    try {
      const families = NAMES[name.toLowerCase()];
      if (families === undefined) {
        throw new Error(`its name does not say which models it is for: one of ${Object.keys(NAMES).join(", ")} does`);
      }
      const decoder = openTinyDecoder(path);
      for (const family of families) if (!found.has(family)) found.set(family, { name, decoder });
    } catch (error) {
      skipped.push({ shelf: "models", id: `${DECODERS}/${name}`, path, reason: (error as Error).message });
    }
  }
  return found;
}

/** A model with a decoder of the shelf, where it has none of its own. */
export function lendDecoder(model: BaseModel, family: Family, decoders: TinyDecoders): BaseModel {
  const lent = decoders.get(family);
  if (model.networks.tiny_decoder !== null || lent === undefined) return model;
  const reason = tinyDecoderMisfit(`${DECODERS}/${lent.name}`, lent.decoder, model.vae.latent_channels);
  return reason === null
    ? { ...model, networks: { ...model.networks, tiny_decoder: lent.decoder.network } }
    : { ...model, warnings: [...model.warnings, reason] };
}
