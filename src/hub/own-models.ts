/** `npm start -- --model org/name --controlnet org/name`: what is named and not there yet is fetched, and MODELS_DIR holds it. */
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import type { ShelfName } from "../schema/catalog.ts";
import { Hub } from "./hub.ts";
import { HubError } from "./hub-fetch.ts";
import { progress } from "./progress.ts";
import { findPulled, pull, pulledId } from "./pull.ts";

/** Where models lie that are fetched by name, unless MODELS_DIR says it. */
export const MODELS_FOLDER = "models";

export const modelsFolder = ({ MODELS_DIR }: Readonly<Record<string, string | undefined>>) =>
  resolve((MODELS_DIR ?? "") === "" ? MODELS_FOLDER : MODELS_DIR!);

/** What `npm start` is told after `--`. */
export interface Named {
  readonly models: readonly string[];
  readonly controlnets: readonly string[];
  readonly variant: "fp16" | null;
  /** A picture is made of it as soon as everything runs, under the control of `hint`, an image's file. */
  readonly prompt?: string | undefined;
  readonly hint?: string | undefined;
}

const ONE = { type: "string" } as const;
const SEVERAL = { type: "string", multiple: true } as const;
const OPTIONS = { model: SEVERAL, controlnet: SEVERAL, variant: ONE, prompt: ONE, hint: ONE };

/** @returns null where nothing is named @throws HubError */
export function readNamed(words: readonly string[]): Named | null {
  const args = words.filter((word) => word !== "--gpu"); // says where networks run
  if (args.length === 0) return null;
  try {
    const { values } = parseArgs({ args, options: OPTIONS });
    const { model: models = [], controlnet: controlnets = [], variant = null, prompt, hint } = values;
    if (models.length === 0) throw new Error("--model org/name is missing");
    if (variant !== null && variant !== "fp16") throw new Error(`--variant ${variant}: fp16 is the only one`);
    if (hint !== undefined && (prompt === undefined || controlnets.length === 0)) {
      throw new Error("--hint needs --controlnet and --prompt");
    }
    return { models, controlnets, variant, prompt, hint };
  } catch (error) {
    throw new HubError(
      `${(error as Error).message}\nnpm start -- --model org/name [--controlnet org/name] [--variant fp16] [--prompt TEXT [--hint FILE]] [--gpu]`,
      { cause: error },
    );
  }
}

/** Ids, as requests name them. */
export interface Ids {
  readonly models: readonly string[];
  readonly controlnets: readonly string[];
}

/**
 * @returns their ids, and MODELS_DIR
 * @throws HubError
 */
export async function fetchNamed(
  env: Readonly<Record<string, string | undefined>>,
  { models, controlnets, variant }: Named,
  say: (line: string) => void,
): Promise<{ models: string; ids: Ids }> {
  const folder = modelsFolder(env);
  const hub = new Hub(env);
  const idsOf = async (shelf: ShelfName, names: readonly string[]) => {
    const ids: string[] = [];
    for (const name of names) {
      const asked = { name, revision: "main", variant, file: null, shelf };
      ids.push(pulledId(findPulled(folder, name) ?? (await pull(hub, folder, asked, progress(hub, say)))));
    }
    return ids;
  };
  return {
    models: folder,
    ids: { models: await idsOf("models", models), controlnets: await idsOf("controlnets", controlnets) },
  };
}
