/** A model folder's scheduler: scheduler_config.json, held against the class that model_index.json names. */
import { join } from "node:path";
import { readJson } from "./checkpoint.ts";
import { UnsupportedError } from "./config.ts";
import { saidEntries } from "./said-entries.ts";

type Json = Readonly<Record<string, unknown>>;

/** Classes of EDM's noise, over which no others' models run. */
const isEdm = (name: string) => /^(EDM|CosineDPM)/.test(name);

/**
 * scheduler_config.json, as far as it says something. Where the index names another class, the file's is taken, and the user is
 * told: diffusers takes the index's.
 * @throws UnsupportedError where the two are of different noise schedules
 */
export function readScheduler(folder: string, { scheduler: entry }: Json, warnings: string[]): Json {
  const said = saidEntries(readJson(join(folder, "scheduler", "scheduler_config.json")));
  const { _use_default_values: _, ...scheduler }: Json = Object.fromEntries(said);
  const { _class_name: own } = scheduler;
  const named = Array.isArray(entry) ? entry[1] : undefined;
  if (typeof named !== "string" || own === undefined || named === own) return scheduler;
  const both = `model_index.json names ${named}, scheduler_config.json ${own}`;
  if (isEdm(named) !== isEdm(String(own))) throw new UnsupportedError(`${both}: they are of different noise schedules`);
  warnings.push(`${both}: the latter is the default, unlike in diffusers`);
  return scheduler;
}
