/**
 * Where in MODELS_DIR the things of each shelf lie: in this project's own folders, in those of AUTOMATIC1111's web UI and ComfyUI, in
 * sub-folders of all of them, and in the cache of a Hugging Face hub (`models--org--name/snapshots/…`), where it goes by `org/name`.
 */
import { type Dirent, existsSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { LORA_WEIGHTS } from "../../src/models/lora/lora.ts";
import { PEFT_CONFIG, PEFT_WEIGHTS } from "../../src/models/lora/peft-config.ts";
import { SAFETY_CHECKER } from "../../src/models/safety-checker.ts";
import { FURTHER } from "../../src/models/shelved-controlnet.ts";
import { TORCH_FILE } from "../../src/models/torch-file.ts";
import type { ShelfName } from "../../src/schema/catalog.ts";
import { DECODERS } from "./decoders.ts";
import { otherFile } from "./other-files.ts";
import { entriesOf, statOf } from "./stamp.ts";

/** Something that stands on a shelf, or would if it could be served. */
export interface Found {
  readonly shelf: ShelfName;
  readonly id: string;
  readonly path: string;
  readonly folder: boolean;
  /** Why it is not even opened. */
  readonly reason?: string;
}

/** Folder names of other programs, in lower case, by the place of this project that they stand for; "" is MODELS_DIR itself. */
const PLACE_OF: Readonly<Record<string, string>> = {
  "stable-diffusion": "",
  checkpoints: "",
  models: "",
  controlnet: "controlnets",
  lora: "loras",
  lycoris: "loras",
  ipadapter: "ip_adapters",
};

/** Folders that library.ts reads. */
const OWN: ReadonlySet<string> = new Set([SAFETY_CHECKER, DECODERS]);
/** The folder of annotators' networks. */
const ANNOTATORS = "annotators";
/** Folders of other programs that hold nothing that is served. */
const NOT_SERVED: ReadonlySet<string> = new Set([
  ...["vae", "vae-approx", "vae_approx", "clip", "clip_vision", "text_encoder", "text_encoders", "unet", "configs"],
  ...["diffusion_models", "esrgan", "realesrgan", "swinir", "bsrgan", "ldsr", "upscale_models", "gfpgan", "codeformer"],
  ...["karlo", "deepbooru", "hypernetworks", "gligen", "style_models", "photomaker", "torch_deepdanbooru"],
  ...["loras", "embeddings", "ip_adapters"],
]);

const SINGLE_FILE = /\.safetensors$/i;
/** Files that hold pickled Python objects. */
const PICKLE = /\.(ckpt|pt|pth|bin)$/i;
/** Shelves whose files are published so; they are read by what runs nothing. */
const TORCH_SHELVES: ReadonlySet<ShelfName> = new Set(["embeddings", "ip_adapters", "adapters"]);
/** What programs put beside a model: settings, notes, pictures. */
const COMPANION = /\.(ya?ml|json|txt|md|png|jpe?g|webp|info|html|tmp|part)$/i;
const HUB_FOLDER = /^models--(.+?)--(.+)$/;
/** Sub-folders below a place; links may make them endless. */
const MOST_DEPTH = 4;

/** What lies in a model's folder, and in no folder of models. */
const MARKS = [
  ...["model_index.json", "config.json", "unet", "diffusion_pytorch_model.safetensors"],
  ...[LORA_WEIGHTS, "learned_embeds.safetensors", PEFT_CONFIG],
];
const isModel = (path: string) => MARKS.some((name) => existsSync(join(path, name)));

const isFolder = (parent: string, entry: Dirent) =>
  entry.isDirectory() || (entry.isSymbolicLink() && statOf(join(parent, entry.name))?.isDirectory() === true);

/** Whether anything below could be a model. */
function holdsModels(path: string, depth = 0): boolean {
  return entriesOf(path).some((entry) => {
    if (!isFolder(path, entry)) {
      return SINGLE_FILE.test(entry.name) || PICKLE.test(entry.name);
    }
    const inner = join(path, entry.name);
    return HUB_FOLDER.test(entry.name) || isModel(inner) || (depth < MOST_DEPTH && holdsModels(inner, depth + 1));
  });
}

/** The newest snapshot in a hub's cache: the one that its branch main points to, else the last one written. */
function snapshotOf(path: string): string | null {
  const main = join(path, "refs/main");
  const snapshots = join(path, "snapshots");
  const named = existsSync(main) ? join(snapshots, readFileSync(main, "utf8").trim()) : "";
  if (named !== "" && existsSync(named)) {
    return named;
  }
  const all = entriesOf(snapshots).map(({ name }) => join(snapshots, name));
  const written = (one: string) => statOf(one)?.mtimeMs ?? 0;
  return all.sort((a, b) => written(a) - written(b)).at(-1) ?? null;
}

function classOf(path: string): string {
  try {
    return String(JSON.parse(readFileSync(join(path, "config.json"), "utf8"))._class_name);
  } catch {
    return "";
  }
}

/** Another ControlNet's weights beside a folder's own, as xinsir publishes the Union and ProMax: each goes by the folder and the file. */
function* furtherWeights({ shelf, id, path }: Pick<Found, "shelf" | "id" | "path">): Generator<Found> {
  const files = shelf === "controlnets" ? entriesOf(path) : [];
  for (const { name: file } of files.filter(({ name }) => FURTHER.test(name))) {
    yield { shelf, id: `${id}/${file.replace(SINGLE_FILE, "")}`, path: join(path, file), folder: false };
  }
}

/** A repository in a hub's cache: which shelf it is for shows in it alone. */
function* findInHub(path: string, org: string, name: string): Generator<Found> {
  const id = `${org}/${name}`;
  const snapshot = snapshotOf(path);
  if (snapshot === null) {
    yield { shelf: "models", id, path, folder: true, reason: "the hub's cache has no snapshot of it" };
    return;
  }
  const files = entriesOf(snapshot)
    .map(({ name: file }) => file)
    .filter((file) => SINGLE_FILE.test(file));
  if (isModel(snapshot) || files.length === 0) {
    const loraFile = [LORA_WEIGHTS, PEFT_WEIGHTS].some((file) => existsSync(join(snapshot, file)));
    const lora = loraFile && !existsSync(join(snapshot, "model_index.json"));
    const shelf = lora ? "loras" : /ControlNet/.test(classOf(snapshot)) ? "controlnets" : "models";
    yield { shelf, id, path: snapshot, folder: true };
    yield* furtherWeights({ shelf, id, path: snapshot });
    return;
  }
  for (const file of files) {
    const shelf = /control/i.test(`${name} ${file}`) ? "controlnets" : "models";
    yield { shelf, id: `${id}/${file.replace(SINGLE_FILE, "")}`, path: join(snapshot, file), folder: false };
  }
}

/** Where the walk is. */
interface At {
  readonly dir: string;
  readonly shelf: ShelfName;
  /** Sub-folders on the way, as the id begins. */
  readonly prefix: string;
  readonly depth: number;
}

function* findInFolder(at: At, name: string, shelves: ReadonlyMap<string, ShelfName>): Generator<Found> {
  const { dir, shelf, prefix, depth } = at;
  const path = join(dir, name);
  if (shelf === "models" && prefix === "" && OWN.has(name)) return;
  const hub = HUB_FOLDER.exec(name);
  if (hub !== null) {
    yield* findInHub(path, hub[1]!, hub[2]!);
    return;
  }
  const lower = name.toLowerCase();
  const place = PLACE_OF[lower] ?? lower;
  // A shelf's own folder is one, whatever else lies loose in it.
  const isPlace = depth === 0 && place !== "" && shelves.has(place);
  if ((isPlace || !isModel(path)) && prefix === "") {
    // Within another shelf's folder, such a name is an organization's.
    const own = place === "" && shelf !== shelves.get("") ? undefined : shelves.get(place);
    if (own !== undefined && depth < MOST_DEPTH) {
      yield* walk({ dir: path, shelf: own, prefix: "", depth: depth + 1 }, shelves);
      return;
    }
    if (lower === ANNOTATORS) return; // src/annotators/library.ts reads it
    if (NOT_SERVED.has(place)) {
      yield { shelf, id: name, path, folder: true, reason: "a folder of things that are not served" };
      return;
    }
  }
  if (!isModel(path) && depth < MOST_DEPTH && holdsModels(path)) {
    yield* walk({ ...at, dir: path, prefix: `${prefix}${name}/`, depth: depth + 1 }, shelves);
  } else {
    yield { shelf, id: prefix + name, path, folder: true };
    yield* furtherWeights({ shelf, id: prefix + name, path });
  }
}

/** Folders before files, and of those .safetensors first, so that of two things of one id the first is served. */
function* walk(at: At, shelves: ReadonlyMap<string, ShelfName>): Generator<Found> {
  const { dir, shelf, prefix } = at;
  const visible = entriesOf(dir).filter(({ name }) => !name.startsWith("."));
  for (const entry of visible.filter((one) => isFolder(dir, one))) {
    yield* findInFolder(at, entry.name, shelves);
  }
  const files = visible.filter((one) => !isFolder(dir, one));
  const safe = files.filter(({ name }) => SINGLE_FILE.test(name));
  for (const { name } of [...safe, ...files.filter((one) => !safe.includes(one))]) {
    const path = join(dir, name);
    const found = { shelf, id: prefix + basename(name).replace(SINGLE_FILE, ""), path, folder: false };
    if (SINGLE_FILE.test(name)) {
      yield found;
    } else if (PICKLE.test(name)) {
      const id = prefix + name.replace(PICKLE, "");
      if (TORCH_SHELVES.has(shelf) && TORCH_FILE.test(name)) {
        yield { ...found, id };
        continue;
      }
      yield { ...found, id, reason: "a pickle, which can run code; only .safetensors files are loaded" };
    } else if (!COMPANION.test(name)) {
      yield { ...found, reason: otherFile(name) };
    }
  }
}

/**
 * Everything in MODELS_DIR, folders of each place before its files.
 * @param shelves by their places: "" is the one whose things lie in MODELS_DIR itself
 */
export const findAll = (dir: string, shelves: ReadonlyMap<string, ShelfName>): Found[] => [
  ...walk({ dir, shelf: shelves.get("")!, prefix: "", depth: 0 }, shelves),
];
