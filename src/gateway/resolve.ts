/** From what a client sent to what is carried out: every default filled in, images out of the request and checked. */
import { randomInt } from "node:crypto";
import type { Config } from "../config/config.ts";
import { Refused } from "../errors.ts";
import { chooseAnnotator } from "../schema/annotator-choice.ts";
import type { Catalog, Model } from "../schema/catalog.ts";
import { GenerationInput, type GenerationRequest } from "../schema/generation-request.ts";
import { imagesOf, mapImages } from "../schema/images.ts";
import { samplingConflict } from "../schema/sampling.ts";
import type { SchedulerName } from "../schema/schedulers.ts";
import { checkNetwork } from "./annotator-network.ts";
import { checkSize } from "./annotator-size.ts";
import type { ImagesIn } from "./images-in.ts";
import { checkAdapters } from "./resolve-adapters.ts";
import { settleImage } from "./resolve-image.ts";
import { offeredId, withIds } from "./resolve-names.ts";
import { controlTypesOf } from "./resolve-unions.ts";
import { doesNotFit, names, refuseUnavailable, suggestion, unprocessable } from "./unprocessable.ts";

export interface Resolved {
  request: GenerationRequest;
  /** The control images' bytes, as sent, by the hash that the request names them by. */
  images: Map<string, Buffer>;
}

/** Control images of MAX_PIXELS, or as many pixels of smaller ones: encoded, they stay in memory, 80 MB each at SD 1.5's width. */
const MAX_LARGE_HINTS = 16;

/** @throws {Refused} when the request cannot be carried out here. */
export async function resolve(
  sent: GenerationInput,
  catalog: Catalog,
  { MAX_PIXELS }: Pick<Config, "MAX_PIXELS">,
  imagesIn: Pick<ImagesIn, "take">,
  owner: string,
): Promise<Resolved> {
  const input = withIds(sent, catalog);
  const model = chooseModel(input, catalog);
  const { width = model.width, height = model.height } = input;
  if (width * height > MAX_PIXELS) {
    const message = `${width}×${height} is ${width * height} pixels: at most ${MAX_PIXELS} are allowed`;
    throw new Refused(400, "too_many_pixels", message, [{ path: "width", message }]);
  }
  const hints = input.controls.flatMap(({ image }) => image ?? [null]).length;
  const mostHints = Math.floor((MAX_LARGE_HINTS * MAX_PIXELS) / (width * height));
  if (hints > mostHints) {
    const message = `${hints} control images of ${width}×${height}: at most ${mostHints} of this size are allowed`;
    throw new Refused(400, "too_many_pixels", message, [{ path: "controls", message }]);
  }
  checkFields(input, model);
  const ofImage = settleImage(input, model);
  for (const [index, { controlnet, layer_scales, annotator }] of input.controls.entries()) {
    if (annotator !== null) checkNetwork(annotator, catalog, `controls[${index}].annotator`);
    checkControlNet(controlnet, model, catalog, `controls[${index}].controlnet`);
    checkLayerScales(layer_scales, model, `controls[${index}].layer_scales`);
  }
  const types = controlTypesOf(input.controls, catalog);
  checkAdapters(input, model, catalog, [width, height]);
  const { scheduler = model.scheduler } = input;
  checkScheduler(scheduler, input.num_inference_steps, model);
  const conflict = samplingConflict(scheduler, input, model.prediction_type);
  if (conflict !== null) throw unprocessable("field_does_not_fit", conflict.path, conflict.message);
  const { seed = randomInt(2 ** 32) } = input; // torch's generator takes no more of a seed than these 32 bits

  const taken = await imagesIn.take(imagesOf(GenerationInput, input), owner);
  for (const [path, image] of taken) {
    const [, index] = /^controls\[(\d+)\]\.image/.exec(path) ?? [];
    const { annotator = null } = index === undefined ? {} : input.controls[Number(index)]!;
    if (annotator !== null) checkSize(image, annotator, MAX_PIXELS, path);
  }
  const hashed = mapImages(GenerationInput, input, (_source, path) => taken.get(path)!.hash) as Hashed;
  const images = new Map([...taken.values()].map(({ hash, bytes }) => [hash, bytes]));
  const controls = hashed.controls.map((one, i) => ({ ...withRenderer(one), control_type: types[i]! }));
  return {
    request: { ...hashed, ...ofImage, controls, model: model.id, width, height, scheduler, seed },
    images,
  };
}

/** A pose without a way of drawing it gets the usual one; `none` makes nothing. */
function withRenderer(control: GenerationRequest["controls"][number]): GenerationRequest["controls"][number] {
  const { annotator, pose } = control;
  if (annotator?.name === "none") return { ...control, annotator: null };
  return { ...control, annotator: annotator ?? (pose === null ? null : chooseAnnotator("openpose_render")) };
}

/** A request's input after {@link mapImages}: images by hash, absent ones null. */
type Hashed = Omit<GenerationInput, ImageFields> & Pick<GenerationRequest, ImageFields>;
type ImageFields = "controls" | "ip_adapters" | "image" | "mask_image";

const SDXL_FIELDS = ["original_size", "crops_coords_top_left", "target_size"] as const;

/** Fields that this model cannot do anything with. */
function checkFields(input: GenerationInput, model: Model): void {
  const idle = SDXL_FIELDS.find((field) => model.family !== "sdxl" && input[field] !== null);
  if (idle !== undefined) {
    throw unprocessable("field_does_not_fit", idle, `is for SDXL; "${model.id}" is of the family ${model.family}`);
  }
  if (input.clip_skip !== null && input.clip_skip > model.max_clip_skip) {
    throw unprocessable(
      "field_does_not_fit",
      "clip_skip",
      `"${model.id}" can do without ${model.max_clip_skip} layers at most`,
    );
  }
  if (input.cache !== null && input.cache.branch > model.max_branch) {
    throw unprocessable("field_does_not_fit", "cache.branch", `must be at most ${model.max_branch} for "${model.id}"`);
  }
  if (input.decoder === "tiny" && !model.tiny_decoder) {
    const message = `"${model.id}" has no tiny autoencoder: put an AutoencoderTiny's folder beside its vae, or leave decoder out`;
    throw unprocessable("field_does_not_fit", "decoder", message);
  }
}

function checkScheduler(scheduler: SchedulerName, steps: number, { id, schedulers }: Model): void {
  const allowed = schedulers.find((one) => one.id === scheduler);
  if (allowed === undefined) {
    const message = `the config of "${id}" does not allow ${scheduler}; those that it does: ${names(schedulers)}`;
    throw unprocessable("field_does_not_fit", "scheduler", message);
  }
  if (steps > allowed.max_inference_steps) {
    const message = `of "${id}", ${scheduler} can take ${allowed.max_inference_steps} steps at most`;
    throw unprocessable("field_does_not_fit", "num_inference_steps", message);
  }
}

function checkLayerScales(scales: readonly number[] | null, model: Model, path: string): void {
  if (scales !== null && scales.length !== model.residuals) {
    const message = `has ${scales.length} factors, but "${model.id}" takes ${model.residuals} residuals`;
    throw unprocessable("field_does_not_fit", path, message);
  }
}

/** The base model that a request means. @throws {Refused} */
export function chooseModel(input: Pick<GenerationInput, "model">, catalog: Catalog): Model {
  const { models } = catalog;
  const [only, ...more] = models;
  if (input.model === undefined) {
    if (only !== undefined && more.length === 0) return only;
    throw unprocessable("unknown_model", "model", `say which model, one of: ${names(models)}`);
  }
  const named = offeredId(input.model, models);
  const model = models.find(({ id }) => id === named);
  if (model !== undefined) return model;
  refuseUnavailable("models", input.model, catalog, "model");
  throw unprocessable("unknown_model", "model", `there is no model "${input.model}"${suggestion(input.model, models)}`);
}

function checkControlNet(id: string, model: Model, catalog: Catalog, path: string): void {
  const { controlnets } = catalog;
  const fitting = controlnets.filter(({ models }) => models.includes(model.id));
  const controlnet = controlnets.find((one) => one.id === id);
  if (controlnet === undefined) {
    refuseUnavailable("controlnets", id, catalog, path);
    throw unprocessable("unknown_controlnet", path, `there is no ControlNet "${id}"${suggestion(id, fitting)}`);
  }
  if (!fitting.includes(controlnet)) {
    throw doesNotFit("controlnet", "ControlNet", controlnet, { model: model.id, fitting, path });
  }
}
