// What the form holds, and the request that it makes: what is left at its default is not said.
import { Picture } from "./picture.js";

/**
 * @typedef {object} ControlState
 * @property {string} controlnet
 * @property {Picture | null} picture as it was dropped, drawn or posed
 * @property {Picture | null} map what an annotator made of it, where one was asked
 * @property {string} annotator "" = the picture is a map already
 * @property {import("./pose.js").Pose | null} pose what the picture was drawn from
 * @property {number} scale
 * @property {number} begin
 * @property {number} end
 * @property {string} mode
 * @property {string} resize
 */

/**
 * @typedef {object} State
 * @property {string} prompt
 * @property {string} negative_prompt
 * @property {string} model
 * @property {number | null} width pixels; null = the model's own
 * @property {number | null} height
 * @property {number} steps
 * @property {number} guidance
 * @property {string} scheduler "" = the checkpoint's own
 * @property {number | null} seed null = random
 * @property {number} num_images
 * @property {Picture | null} start
 * @property {Picture | null} mask
 * @property {number} strength
 * @property {string} similarBy an IP-Adapter's id; "" = image-to-image
 * @property {ControlState[]} controls
 * @property {{lora: string, scale: number}[]} loras
 */

/**
 * What an installation offers.
 * @typedef {object} Offer
 * @property {any[]} models
 * @property {any[]} controlnets
 * @property {any[]} annotators
 * @property {any[]} loras
 * @property {any[]} ipAdapters
 * @property {boolean} poses whether a control takes key points
 */

/** Below this many pixels a side the service's limbs, 8 pixels wide, blot a figure out: there the page draws thinner ones. */
const LEAST_FOR_POSES = 256;

/** The fields that differ from these are said. */
const DEFAULTS = { negative_prompt: "", num_inference_steps: 20, guidance_scale: 7.5, num_images: 1 };
const CONTROL_DEFAULTS = {
  conditioning_scale: 1,
  control_guidance_start: 0,
  control_guidance_end: 1,
  control_mode: "balanced",
  resize_mode: "stretch",
};

/** @param {Record<string, unknown>} fields @param {Record<string, unknown>} defaults */
const without = (fields, defaults) =>
  Object.fromEntries(Object.entries(fields).filter(([name, value]) => value !== defaults[name]));

/**
 * The body of a request, with pictures where it will say them: {@link encode} and the code to copy each say them in their way.
 * @param {State} state
 * @param {Offer} offer
 */
export function bodyOf(state, offer) {
  const model = offer.models.find(({ id }) => id === state.model);
  /** @type {Record<string, unknown>} */
  const body = {};
  if (offer.models.length > 1) body.model = state.model;
  body.prompt = state.prompt;
  const { negative_prompt, num_images, steps: num_inference_steps, guidance: guidance_scale } = state;
  Object.assign(body, without({ negative_prompt, num_inference_steps, guidance_scale, num_images }, DEFAULTS));
  if (state.seed !== null) body.seed = state.seed;
  if (state.width !== null && state.width !== model?.width) body.width = state.width;
  if (state.height !== null && state.height !== model?.height) body.height = state.height;
  if (state.scheduler !== "" && state.scheduler !== model?.scheduler) body.scheduler = state.scheduler;
  if (state.start !== null && state.similarBy === "" && model?.instruct_pix2pix) {
    body.image = state.start;
  } else if (state.start !== null && state.similarBy === "") {
    Object.assign(body, {
      image: state.start,
      ...(state.mask && { mask_image: state.mask }),
      strength: state.strength,
    });
  } else if (state.start !== null) {
    body.ip_adapters = [{ ip_adapter: state.similarBy, image: state.start, scale: state.strength }];
  }
  const side = Math.min(state.width ?? 0, state.height ?? 0);
  const takesPoses = offer.poses && side >= LEAST_FOR_POSES;
  if (state.controls.length > 0) body.controls = state.controls.map((control) => controlOf(control, takesPoses));
  if (state.loras.length > 0) body.loras = state.loras;
  return body;
}

/** @param {ControlState} control @param {boolean} takesPoses */
function controlOf({ controlnet, picture, map, pose, ...set }, takesPoses) {
  const said = {
    conditioning_scale: set.scale,
    control_guidance_start: set.begin,
    control_guidance_end: set.end,
    control_mode: set.mode,
    resize_mode: set.resize,
  };
  const hint = takesPoses && pose !== null ? { pose: pose.json } : { image: map ?? picture };
  return { controlnet, ...hint, ...without(said, CONTROL_DEFAULTS) };
}

/** The body as the service takes it: pictures in it as they are said. @param {unknown} part @returns {Promise<any>} */
export async function encode(part) {
  if (part instanceof Picture) return part.source();
  if (Array.isArray(part)) return Promise.all(part.map(encode));
  if (typeof part !== "object" || part === null) return part;
  const entries = Object.entries(part).map(async ([name, value]) => [name, await encode(value)]);
  return Object.fromEntries(await Promise.all(entries));
}

/** What is missing before this can be sent, in words; null = nothing. @param {State} state @param {Offer} offer */
export function missing(state, offer) {
  const empty = state.controls.find(({ picture }) => picture === null);
  if (empty) return `The control "${empty.controlnet}" has no picture yet: drop one, or draw one.`;
  const model = offer.models.find(({ id }) => id === state.model);
  if (model?.instruct_pix2pix && (state.start === null || state.similarBy !== "")) {
    return `"${state.model}" changes a picture as the prompt says: it needs a start picture.`;
  }
  if (model?.inpainting && (state.start === null || state.mask === null)) {
    return `"${state.model}" paints into pictures: it needs a start picture, and what to change painted on it.`;
  }
  return null;
}

/**
 * The state that a finished generation's request came from, but for its pictures: the service keeps those to itself.
 * @param {any} request as the service echoes it
 * @returns {State}
 */
export const stateOf = (request) => ({
  prompt: request.prompt,
  negative_prompt: request.negative_prompt ?? "",
  model: request.model,
  width: request.width,
  height: request.height,
  steps: request.num_inference_steps,
  guidance: request.guidance_scale,
  scheduler: request.scheduler,
  seed: request.seed,
  num_images: request.num_images,
  start: null,
  mask: null,
  strength: request.strength ?? 0.8,
  similarBy: "",
  loras: request.loras ?? [],
  controls: request.controls.map((/** @type {any} */ control) => ({
    controlnet: control.controlnet,
    picture: null,
    map: null,
    annotator: "",
    pose: null,
    scale: control.conditioning_scale,
    begin: control.control_guidance_start,
    end: control.control_guidance_end,
    mode: control.control_mode,
    resize: control.resize_mode,
  })),
});
