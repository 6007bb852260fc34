/** What model_index.json says of each part: a library and a class, as diffusers reads them. */
import { UnsupportedError } from "./config.ts";
import { requireClass } from "./recognize-class.ts";

type Index = Readonly<Record<string, unknown>>;

const isEntry = (entry: unknown): entry is [string | null, string | null] =>
  Array.isArray(entry) && entry.length === 2 && entry.every((one) => one === null || typeof one === "string");

/** Parts that a pipeline may do without. */
const OPTIONAL = ["safety_checker", "feature_extractor", "image_encoder"];

/**
 * diffusers builds no pipeline of an index in which a part is left out or not named by library and class.
 * @param towers text encoders of the pipeline
 * @throws UnsupportedError naming the part
 */
export function requireEntries(index: Index, towers: 1 | 2): void {
  if (towers === 2 && isEntry(index.text_encoder) && index.text_encoder[0] === null) {
    throw new UnsupportedError(
      `model_index.json: a ${index._class_name} without text_encoder (the SDXL refiner) is not supported`,
    );
  }
  const second = towers === 2 ? ["text_encoder_2", "tokenizer_2"] : [];
  const needed = ["unet", "vae", "text_encoder", "tokenizer", "scheduler", ...second];
  const wrong = [...needed, ...OPTIONAL.filter((part) => part in index)].find((part) => !isEntry(index[part]));
  if (wrong !== undefined) {
    const said = JSON.stringify(index[wrong]) ?? "left out";
    throw new UnsupportedError(`model_index.json: ${wrong} is ${said}, not a library and a class`);
  }
  for (const part of needed.filter((name) => name.startsWith("tokenizer"))) {
    requireClass(
      { _class_name: classOf(index, part) },
      `model_index.json: ${part}`,
      "CLIPTokenizer",
      "CLIPTokenizerFast",
    );
  }
  const scheduler = classOf(index, "scheduler");
  if (scheduler === null || /^(FlowMatch|IPNDM|CMStochastic)/.test(scheduler)) {
    throw new UnsupportedError(`model_index.json: scheduler: ${scheduler} is not supported`);
  }
  // diffusers cannot use the projected text of a whole for SD 1.x and 2.x; for SDXL it takes the first tower's in place of the second's.
  if (classOf(index, "text_encoder") === "CLIPTextModelWithProjection") {
    const why = towers === 1 ? "gives no text for SD 1.x or 2.x" : "in place of SDXL's CLIPTextModel is not supported";
    throw new UnsupportedError(`model_index.json: text_encoder: CLIPTextModelWithProjection ${why}`);
  }
  if (towers === 2 && index.requires_aesthetics_score) {
    throw new UnsupportedError(
      "model_index.json: requires_aesthetics_score (the SDXL refiner, which is told a score beside the sizes) is not supported",
    );
  }
}

const classOf = (index: Index, part: string) => (index[part] as [unknown, string | null])[1];
