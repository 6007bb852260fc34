/** What a single file says of how its U-Net was trained: above the family's defaults, which are guesses. */
import { existsSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { UnsupportedError } from "./config.ts";

type Prediction = "epsilon" | "v_prediction";

/** Keys of scheduler_config.json. */
export interface Said {
  readonly prediction_type?: Prediction;
  readonly rescale_betas_zero_snr?: true;
  readonly beta_start?: number;
  readonly beta_end?: number;
  readonly num_train_timesteps?: number;
}

/** Words for it in metadata and in configs, in lower case without separators. */
const WORDS: ReadonlyMap<string, Prediction> = new Map([
  ...(["epsilon", "eps", "epsscaling"] as const).map((word) => [word, "epsilon"] as const),
  ...(["v", "vpred", "vprediction", "velocity", "vscaling"] as const).map((word) => [word, "v_prediction"] as const),
]);

/** @throws UnsupportedError for a word that stands for something else */
function predictionOf(word: string, where: string): Prediction {
  const found = WORDS.get(word.toLowerCase().replaceAll(/[\s_-]/g, ""));
  if (found === undefined) throw new UnsupportedError(`${where} ${JSON.stringify(word)} is not supported`);
  return found;
}

/** The architectures of Stability-AI/ModelSpec that are named by what they predict. */
const ARCHITECTURES: readonly (readonly [RegExp, Prediction])[] = [
  [/^stable-diffusion-v2-512\b/, "epsilon"],
  [/^stable-diffusion-v2-768-v\b/, "v_prediction"],
];

/** modelspec.* of Stability-AI/ModelSpec, which kohya's scripts and others write: prediction_type, or the architecture. */
function saidInMetadata(metadata: Readonly<Record<string, string>>): Said {
  const { "modelspec.prediction_type": word = "", "modelspec.architecture": architecture = "" } = metadata;
  const of = ARCHITECTURES.find(([pattern]) => pattern.test(architecture))?.[1];
  const prediction_type = word.trim() === "" ? of : predictionOf(word, "its metadata's modelspec.prediction_type");
  return prediction_type === undefined ? {} : { prediction_type };
}

/** The .yaml of the same name beside a file, where it is a model's; "" where there is none. @throws UnsupportedError for a web page */
export function yamlBeside(file: string): string {
  const yaml = file.replace(/\.safetensors$/i, ".yaml");
  const text = yaml !== file && existsSync(yaml) ? readFileSync(yaml, "utf8") : "";
  if (/^\s*<(!doctype|html)/i.test(text)) {
    throw new UnsupportedError("the .yaml beside it is a web page, not a model's config: the download went wrong");
  }
  return /^model:/m.test(text) ? text : "";
}

/** A key's word or number, wherever it stands. */
const valueIn = (yaml: string, key: string) => new RegExp(`^\\s+${key}:\\s*["']?([^\\s"'#]+)`, "m").exec(yaml)?.[1];

/** @throws UnsupportedError for what is no number */
export function numberIn(yaml: string, key: string): number | undefined {
  const value = valueIn(yaml, key);
  if (value === undefined) return undefined;
  const number = Number(value);
  if (!(number > 0)) throw new UnsupportedError(`the .yaml beside it: ${key} ${value} is not supported`);
  return number;
}

/** What ldm's configs call keys of scheduler_config.json (diffusers, loaders/single_file_utils.py). */
const SCHEDULE = { beta_start: "linear_start", beta_end: "linear_end", num_train_timesteps: "timesteps" } as const;

/**
 * AUTOMATIC1111's .yaml: ldm's says `parameterization: "v"`, or nothing, which is epsilon; sgm's names the class that scales what
 * the network gives (modules/sd_models_xl.py of AUTOMATIC1111/stable-diffusion-webui).
 * @throws UnsupportedError
 */
function saidBeside(file: string): Said {
  const yaml = yamlBeside(file);
  if (yaml === "") return {};
  const where = `${basename(file)} has a .yaml beside it, of which`;
  const [, scaling] = /\bdenoiser_scaling\.(\w+)/.exec(yaml) ?? [];
  const isSgm = /^\s+(target:\s*["']?sgm\.|network_config:)/m.test(yaml);
  const word = scaling ?? valueIn(yaml, "parameterization") ?? (isSgm ? undefined : "eps");
  const numbers = Object.entries(SCHEDULE).flatMap(([key, name]) => {
    const value = numberIn(yaml, name);
    return value === undefined ? [] : [[key, value]];
  });
  return {
    ...Object.fromEntries(numbers),
    ...(word !== undefined && { prediction_type: predictionOf(word, `${where} the prediction`) }),
  };
}

/**
 * The most certain first: empty tensors `v_pred` and `ztsnr`, as NoobAI marks its files; the header's metadata; the file beside it.
 * @throws UnsupportedError that names what is said and not carried out
 */
export function saidOfPrediction(
  file: string,
  tensors: { has(name: string): boolean },
  metadata: Readonly<Record<string, string>>,
): Said {
  return {
    ...saidBeside(file),
    ...saidInMetadata(metadata),
    ...(tensors.has("v_pred") && { prediction_type: "v_prediction" }),
    ...(tensors.has("ztsnr") && { rescale_betas_zero_snr: true }),
  };
}
