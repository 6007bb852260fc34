/** Which files of a repository a model needs: safetensors, configs and tokenizers, and of several forms of the same weights one. */
import { pipelineOf } from "../models/base.ts";
import { LORA_WEIGHTS } from "../models/lora/lora.ts";
import { PEFT_CONFIG, PEFT_WEIGHTS } from "../models/lora/peft-config.ts";
import type { ShelfName } from "../schema/catalog.ts";
import type { HubFile, Repository } from "./hub.ts";
import { HubError } from "./hub-fetch.ts";

export interface FileChoice {
  readonly shelf: ShelfName;
  /** A folder in the diffusers layout, or one file. */
  readonly form: "folder" | "file";
  /** The small ones first: what is wrong with a model shows in them. */
  readonly files: readonly HubFile[];
}

export interface WantedFiles {
  readonly variant: "fp16" | null;
  /** One file of a repository that holds several. */
  readonly file: string | null;
  /** Where the repository does not say it itself. */
  readonly shelf: ShelfName | null;
}

/** A JSON file of the repository. */
type Read = (file: HubFile) => Promise<Record<string, unknown>>;

const WEIGHTS = "diffusion_pytorch_model";
/** The parts of a base model, by the stem of their weights. */
const STEMS: Readonly<Record<string, string>> = {
  unet: WEIGHTS,
  vae: WEIGHTS,
  text_encoder: "model",
  text_encoder_2: "model",
};
const TOKENIZERS = ["tokenizer", "tokenizer_2"];
const TOKENIZER_FILES = [
  ...["vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json"],
  ...["special_tokens_map.json", "added_tokens.json"],
];
/** The shelf of a folder that is one network, by its class. */
const SHELF_OF_CLASS: Readonly<Record<string, ShelfName>> = {
  ControlNetModel: "controlnets",
  ControlNetUnionModel: "controlnets",
  T2IAdapter: "adapters",
};

const isSafetensors = ({ path }: HubFile) => /\.safetensors$/i.test(path);

/** @throws HubError when the repository holds nothing that is served here, or more than one thing */
export async function choose(repository: Repository, wanted: WantedFiles, read: Read): Promise<FileChoice> {
  const files = new Map(repository.files.map((file) => [file.path, file]));
  const folder = new Folder(files, wanted, read);
  if (wanted.file !== null) return oneFile(files, wanted.file, wanted.shelf);
  const [index, config] = [files.get("model_index.json"), files.get("config.json")];
  if (index !== undefined) {
    return { shelf: "models", form: "folder", files: bySize(await folder.model(index)) };
  }
  if (config !== undefined) {
    const { _class_name: name } = await read(config);
    const shelf = SHELF_OF_CLASS[String(name)];
    if (shelf !== undefined) {
      return { shelf, form: "folder", files: bySize([config, ...(await folder.weights("", WEIGHTS))]) };
    }
    if (name !== undefined) throw new HubError(`it is a ${name}, which is not served`);
  }
  const lora = files.get(LORA_WEIGHTS);
  if (lora !== undefined) return { shelf: "loras", form: "folder", files: [lora] };
  const [weights, peft] = [files.get(PEFT_WEIGHTS), files.get(PEFT_CONFIG)];
  if (weights !== undefined && peft !== undefined) return { shelf: "loras", form: "folder", files: [peft, weights] };
  const single = [...files.values()].filter((file) => isSafetensors(file) && !file.path.includes("/"));
  if (single.length === 1) return oneFile(files, single[0]!.path, wanted.shelf);
  if (single.length > 1) {
    throw new HubError(
      `it holds ${single.length} models: name one by --file: ${single.map(({ path }) => path).join(", ")}`,
    );
  }
  throw new HubError(
    "it holds no model: neither a model_index.json, nor a ControlNet's config.json, nor a .safetensors file",
  );
}

const bySize = (files: readonly HubFile[]) => [...new Set(files)].sort((a, b) => a.size - b.size);

/** On which shelf a file belongs; its name alone tells. */
function oneFile(files: ReadonlyMap<string, HubFile>, path: string, shelf: ShelfName | null): FileChoice {
  const file = files.get(path);
  if (file === undefined || !isSafetensors(file)) {
    throw new HubError(`it has no ${path}${file === undefined ? "" : " that is served: only .safetensors files are"}`);
  }
  const guess = /control/i.test(path) ? "controlnets" : /lora/i.test(path) ? "loras" : "models";
  return { shelf: shelf ?? guess, form: "file", files: [file] };
}

/** Nothing is fetched of what would be refused for its pipeline. */
function requireServed(index: Record<string, unknown>): void {
  try {
    pipelineOf(index);
  } catch (error) {
    throw new HubError((error as Error).message, { cause: error });
  }
}

/** A repository in the diffusers layout. */
class Folder {
  readonly #files: ReadonlyMap<string, HubFile>;
  readonly #variants: readonly string[];
  readonly #read: Read;

  constructor(files: ReadonlyMap<string, HubFile>, { variant }: WantedFiles, read: Read) {
    this.#files = files;
    this.#variants = variant === null ? ["", ".fp16"] : [`.${variant}`, ""];
    this.#read = read;
  }

  #present(...paths: string[]): HubFile[] {
    return paths.flatMap((path) => this.#files.get(path) ?? []);
  }

  /** What a model_index.json names, but for what no picture needs. */
  async model(index: HubFile): Promise<HubFile[]> {
    const said = await this.#read(index);
    requireServed(said);
    const parts = Object.entries(said)
      .filter(([, value]) => Array.isArray(value) && value[0] !== null)
      .map(([part]) => part);
    const chosen = [index, ...this.#present("scheduler/scheduler_config.json")];
    for (const part of parts) {
      const stem = STEMS[part];
      if (stem !== undefined) {
        chosen.push(...this.#present(`${part}/config.json`), ...(await this.weights(`${part}/`, stem)));
      }
      if (TOKENIZERS.includes(part)) chosen.push(...this.#present(...TOKENIZER_FILES.map((name) => `${part}/${name}`)));
    }
    return chosen;
  }

  /** One form of a part's weights, the wanted variant where it is there. @throws HubError when there is none */
  async weights(dir: string, stem: string): Promise<HubFile[]> {
    for (const variant of this.#variants) {
      const [whole] = this.#present(`${dir}${stem}${variant}.safetensors`);
      if (whole !== undefined) return [whole];
      const names = [`${stem}${variant}.safetensors.index.json`, `${stem}.safetensors.index${variant}.json`];
      const [index] = this.#present(...names.map((name) => dir + name));
      if (index === undefined) continue;
      const { weight_map: map } = await this.#read(index);
      const shards = this.#present(...new Set(Object.values(map ?? {}).map((name) => dir + String(name))));
      if (shards.length > 0) return [index, ...shards];
    }
    throw new HubError(`${dir}${stem}.safetensors is missing: other forms of weights, such as .bin, are not loaded`);
  }
}
