/** A model folder's scheduler: scheduler_config.json, and the class that model_index.json names. */
import { join } from "node:path";
import { readJson } from "./checkpoint.ts";
import { UnsupportedError } from "./config.ts";
import { saidEntries } from "./said-entries.ts";

type Json = Readonly<Record<string, unknown>>;

/** Classes of EDM's noise, over which no others' models run. */
const isEdm = (name: string) => /^(EDM|CosineDPM)/.test(name);

/**
 * scheduler_config.json, as far as it says something, with the class that counts: the one that model_index.json names, as in
 * diffusers. Where the file's is the PNDM of the published SD 1.x and the index says DDIM, the file's counts: so the folders are
 * that this project is held against. Where two are named, `warnings` says which counts.
 * @throws UnsupportedError where the two are of different noise schedules
 */
export function readScheduler(folder: string, { scheduler: entry }: Json, warnings: string[]): Json {
  const said = saidEntries(readJson(join(folder, "scheduler", "scheduler_config.json")));
  const { _use_default_values: _, ...scheduler }: Json = Object.fromEntries(said);
  const { _class_name: own } = scheduler;
  const named = Array.isArray(entry) ? entry[1] : undefined;
  if (typeof named !== "string" || named === own) return scheduler;
  if (own === undefined) return { ...scheduler, _class_name: named };
  const both = `model_index.json names ${named}, scheduler_config.json ${own}`;
  if (isEdm(named) !== isEdm(String(own))) throw new UnsupportedError(`${both}: they are of different noise schedules`);
  if (named === "DDIMScheduler" && own === "PNDMScheduler") {
    warnings.push(`${both}: the latter is the default, unlike in diffusers`);
    return scheduler;
  }
  warnings.push(`${both}: the former is the default, as in diffusers`);
  return { ...scheduler, _class_name: named };
}
