/** The web UI's options: there they are one set for everybody, here each key has its own. */
import type { Redis } from "ioredis";
import { z } from "zod";
import type { Catalog } from "../../../schema/catalog.ts";
import type { Body } from "./body.ts";
import { idCalled, isNone } from "./names.ts";
import { refuseA1111 } from "./refuse.ts";

export interface Options {
  /** Id of the base model. */
  sd_model_checkpoint: string;
  /** 1 = all layers. */
  CLIP_stop_at_last_layers: number;
}

const optionsKey = (owner: string) => `a1111:options:${owner}`;

const Kept = z.object({
  sd_model_checkpoint: z.string().optional(),
  CLIP_stop_at_last_layers: z.coerce.number().optional(),
});

/** Those of an owner: what it has chosen, as long as it is offered; else the first model. */
export async function readOptions(redis: Redis, owner: string, { models }: Catalog): Promise<Options> {
  const { sd_model_checkpoint: chosen, CLIP_stop_at_last_layers = 1 } = Kept.parse(
    await redis.hgetall(optionsKey(owner)),
  );
  const model = models.find(({ id }) => id === chosen) ?? models[0];
  return { sd_model_checkpoint: model?.id ?? chosen ?? "", CLIP_stop_at_last_layers };
}

export async function keepOptions(redis: Redis, owner: string, options: Options): Promise<void> {
  await redis.hset(optionsKey(owner), { ...options });
}

/** Options that are as they are here, and cannot be set. */
const FIXED = {
  samples_format: "png",
  sd_vae: "Automatic",
  randn_source: "CPU",
  emphasis: "Original",
  eta_noise_seed_delta: 0,
  enable_pnginfo: true,
  forge_additional_modules: [] as string[],
  sd_checkpoint_hash: null,
};

/** `GET /sdapi/v1/options`. */
export const shownOptions = (options: Options) => ({ ...FIXED, ...options });

/** A VAE of its own: there is none to choose. */
const isOwnVae = (value: unknown) =>
  value == null ||
  (typeof value === "string" && (isNone(value) || /^(automatic|n\/a)$/i.test(value))) ||
  (Array.isArray(value) && value.every(isOwnVae));

/** The options with some of them set anew. @throws {Refused} naming one that cannot be */
export function changed(options: Options, set: Record<string, unknown>, catalog: Catalog, at = ""): Options {
  const next = { ...options };
  for (const [name, value] of Object.entries(set)) {
    const path = `${at}${name}`;
    if (name === "sd_model_checkpoint" || name === "sd_checkpoint") {
      if (value == null || value === "") continue;
      if (typeof value !== "string") throw refuseA1111(path, "must be the name of a model");
      next.sd_model_checkpoint = modelCalled(catalog, value, path);
    } else if (name === "CLIP_stop_at_last_layers") {
      if (value == null) continue;
      if (!Number.isInteger(value) || (value as number) < 1) throw refuseA1111(path, "must be 1 or more");
      next.CLIP_stop_at_last_layers = value as number;
    } else if (name === "sd_vae" || name === "forge_additional_modules") {
      if (!isOwnVae(value)) throw refuseA1111(path, "each model has the VAE that is in its files: must be Automatic");
    } else if (!Object.hasOwn(FIXED, name)) {
      throw refuseA1111(
        path,
        `is not an option here; those that are: ${Object.keys(shownOptions(options)).join(", ")}`,
      );
    } else if (JSON.stringify(value) !== JSON.stringify(FIXED[name as keyof typeof FIXED])) {
      throw refuseA1111(path, `cannot be set here: it is ${JSON.stringify(FIXED[name as keyof typeof FIXED])}`);
    }
  }
  return next;
}

function modelCalled({ models }: Catalog, said: string, path: string): string {
  const id = idCalled(models, said);
  if (models.some((one) => one.id === id)) return id;
  throw refuseA1111(
    path,
    `there is no model "${said.slice(0, 200)}"; there are ${models.map((one) => one.id).join(", ")}`,
  );
}

/** The options of one request. */
export function readOverrides(body: Body, options: Options, catalog: Catalog): Options {
  const overrides = body.override_settings ?? {};
  if (body.override_settings_restore_afterwards === false && Object.keys(overrides).length > 0) {
    throw refuseA1111(
      "override_settings_restore_afterwards",
      "must be true: POST /sdapi/v1/options is what keeps them",
    );
  }
  const read = changed(options, overrides, catalog, "override_settings.");
  const { clip_skip } = body; // as some clients write the same
  if (clip_skip == null || clip_skip < 1 || overrides.CLIP_stop_at_last_layers != null) return read;
  return { ...read, CLIP_stop_at_last_layers: clip_skip };
}
