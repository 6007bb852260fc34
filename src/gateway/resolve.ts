/** From what a client sent to what is carried out: every default filled in, images out of the request and checked. */
import { randomInt } from "node:crypto";
import { closest } from "fastest-levenshtein";
import type { Config } from "../config.ts";
import { Refused } from "../errors.ts";
import { decode, ImageError } from "../image/decode.ts";
import {
  type Catalog,
  DEFAULT_STRENGTH,
  type GenerationInput,
  type GenerationRequest,
  MAX_IMAGE_PIXELS,
  type Model,
} from "../schema.ts";
import { imageHash } from "../storage.ts";

export interface Resolved {
  request: GenerationRequest;
  /** The control images' bytes, as sent, by the hash that the request names them by. */
  images: Map<string, Buffer>;
}

/** @throws {Refused} when the request cannot be carried out here. */
export async function resolve(input: GenerationInput, catalog: Catalog, limits: Limits): Promise<Resolved> {
  const model = chooseModel(input, catalog);
  const { width = model.width, height = model.height } = input;
  if (width * height > limits.MAX_PIXELS) {
    const message = `${width}×${height} is ${width * height} pixels: at most ${limits.MAX_PIXELS} are allowed`;
    throw new Refused(400, "too_many_pixels", message, [{ path: "width", message }]);
  }
  checkFields(input, model);
  const images = new Map<string, Buffer>();
  const store = async (uri: string, at: string) => {
    const bytes = bytesOf(uri, at, limits);
    const hash = imageHash(bytes);
    if (!images.has(hash)) await checkImage(bytes, at);
    images.set(hash, bytes);
    return hash;
  };
  const storeIfAny = async (uri: string | undefined, at: string) => (uri === undefined ? null : store(uri, at));
  const controls: GenerationRequest["controls"] = [];
  for (const [index, control] of input.controls.entries()) {
    const path = `controls[${index}]`;
    checkControlNet(control.controlnet, model, catalog, `${path}.controlnet`);
    checkLayerScales(control.layer_scales, model, `${path}.layer_scales`);
    const mask = await storeIfAny(control.mask, `${path}.mask`);
    const { image } = control;
    if (typeof image === "string") {
      controls.push({ ...control, image: await store(image, `${path}.image`), mask });
    } else {
      const hashes: string[] = [];
      for (const [i, uri] of image.entries()) hashes.push(await store(uri, `${path}.image[${i}]`));
      controls.push({ ...control, image: hashes, mask });
    }
  }
  const {
    scheduler = model.scheduler,
    seed = randomInt(2 ** 32), // torch's generator takes no more of a seed than these 32 bits
    strength = input.image === undefined ? null : DEFAULT_STRENGTH,
  } = input;
  const image = await storeIfAny(input.image, "image");
  const mask_image = await storeIfAny(input.mask_image, "mask_image");
  const settled = { model: model.id, width, height, scheduler, seed, strength, controls, image, mask_image };
  return { request: { ...input, ...settled }, images };
}

const SDXL_FIELDS = ["original_size", "crops_coords_top_left", "target_size"] as const;

/** Fields that this model cannot do anything with, and those that it cannot do without. */
function checkFields(input: GenerationInput, model: Model): void {
  const idle = SDXL_FIELDS.find((field) => model.family !== "sdxl" && input[field] !== null);
  if (idle !== undefined) {
    throw unknown("field_does_not_fit", idle, `is for SDXL; "${model.id}" is of the family ${model.family}`);
  }
  if (input.clip_skip !== null && input.clip_skip > model.max_clip_skip) {
    throw unknown(
      "field_does_not_fit",
      "clip_skip",
      `"${model.id}" can do without ${model.max_clip_skip} layers at most`,
    );
  }
  const missing = (["image", "mask_image"] as const).find((field) => model.inpainting && input[field] === undefined);
  if (missing !== undefined) {
    throw unknown("field_missing", missing, `"${model.id}" is an inpainting model: it needs image and mask_image`);
  }
}

function checkLayerScales(scales: readonly number[] | null, model: Model, path: string): void {
  if (scales !== null && scales.length !== model.residuals) {
    const message = `has ${scales.length} factors, but "${model.id}" takes ${model.residuals} residuals`;
    throw unknown("field_does_not_fit", path, message);
  }
}

type Limits = Pick<Config, "MAX_PIXELS" | "MAX_IMAGE_BYTES">;

function chooseModel(input: GenerationInput, { models }: Catalog): Model {
  const [only, ...more] = models;
  if (input.model === undefined) {
    if (only !== undefined && more.length === 0) return only;
    throw unknown("unknown_model", "model", `say which model, one of: ${names(models)}`);
  }
  const model = models.find(({ id }) => id === input.model);
  if (model !== undefined) return model;
  throw unknown("unknown_model", "model", `there is no model "${input.model}"${suggestion(input.model, models)}`);
}

function checkControlNet(id: string, model: Model, { controlnets }: Catalog, path: string): void {
  const fitting = controlnets.filter(({ models }) => models.includes(model.id));
  const controlnet = controlnets.find((one) => one.id === id);
  if (controlnet === undefined) {
    throw unknown("unknown_controlnet", path, `there is no ControlNet "${id}"${suggestion(id, fitting)}`);
  }
  if (!fitting.includes(controlnet)) {
    const message = `the ControlNet "${id}" does not fit the model "${model.id}"; those that do: ${names(fitting)}`;
    throw unknown("controlnet_does_not_fit", path, message);
  }
}

function unknown(code: string, path: string, message: string): Refused {
  return new Refused(422, code, message, [{ path, message }]);
}

function suggestion(id: string, known: { id: string }[]): string {
  if (known.length === 0) return "; none is offered here";
  const ids = known.map((one) => one.id);
  return `; the nearest of those offered (${names(known)}) is "${closest(id, ids)}"`;
}

function names(known: { id: string }[]): string {
  return known.length === 0 ? "none" : known.map(({ id }) => id).join(", ");
}

/** The bytes of a data: URI with base64 data. */
function bytesOf(uri: string, path: string, { MAX_IMAGE_BYTES }: Limits): Buffer {
  const bytes = Buffer.from(uri.slice(uri.indexOf(",") + 1), "base64");
  if (bytes.length > MAX_IMAGE_BYTES) {
    const message = `the image has ${bytes.length} bytes: at most ${MAX_IMAGE_BYTES} are allowed`;
    throw new Refused(413, "image_too_large", message, [{ path, message }]);
  }
  return bytes;
}

/** One image at a time: a large one takes 150 MB while it is decoded. */
let turn: Promise<unknown> = Promise.resolve();

async function checkImage(bytes: Buffer, path: string): Promise<void> {
  const decoded = turn.then(() => decode(bytes, { maxPixels: MAX_IMAGE_PIXELS }));
  turn = decoded.catch(() => {});
  try {
    await decoded;
  } catch (error) {
    if (!(error instanceof ImageError)) throw error;
    throw new Refused(422, "image_undecodable", error.message, [{ path, message: error.message }]);
  }
}
