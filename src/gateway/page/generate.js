// Making pictures: sending the request, following its events, cancelling, and the same without control.
import { events, Problem, post, read, readPicture } from "./api.js";
import { bodyOf, encode, stateOf } from "./request.js";

/** @typedef {import("./request.js").State} State */
/** @typedef {import("./stage.js").Shown} Shown */

/** In a generation's metadata: it was made to be compared with that one, and is not among the last pictures. */
const COMPARED = "compared_with";

/**
 * Makes pictures.
 * @param {Record<string, unknown>} body as `bodyOf` gives it
 * @param {{accepted: (generation: any) => void, progress: (step: number, total: number, preview?: string) => void}} told
 * @param {AbortSignal} signal stops listening to it; it goes on unless it is canceled
 * @returns {Promise<any>} the generation, ended
 * @throws {Problem} when it is refused
 */
export async function generate(body, told, signal) {
  const headers = { "Idempotency-Key": crypto.randomUUID?.() ?? String(Math.random()) };
  const accepted = await (await post("v1/generations", await encode({ ...body, preview: true }), headers)).json();
  told.accepted(accepted);
  for await (const { event, data } of events(`v1/generations/${accepted.id}/events`, signal)) {
    if (event === "progress") told.progress(data.step, data.total, data.preview);
    else if (data.ended_at !== null) return data;
  }
  return read(`v1/generations/${accepted.id}`);
}

/** Cancels a generation; one that has ended meanwhile is none the worse. @param {string} id */
export async function cancel(id) {
  try {
    await post(`v1/generations/${id}/cancel`);
  } catch (error) {
    if (!(error instanceof Problem && error.status === 409)) throw error;
  }
}

/**
 * The pictures of a generation that has succeeded, the last one first.
 * @param {any} generation
 * @param {State} [state] the form that it came from; absent = as far as the service tells
 * @returns {Promise<Shown[]>}
 */
export async function picturesOf(generation, state = stateOf(generation.request)) {
  const { id, images, request, created_at, ended_at, warnings } = generation;
  const pictures = images.map(async (/** @type {any} */ image, /** @type {number} */ index) => ({
    generation: id,
    index,
    seed: image.seed,
    width: image.width,
    height: image.height,
    type: image.content_type,
    url: URL.createObjectURL(await readPicture(image.url)),
    prompt: request.prompt,
    seconds: ended_at === null ? null : (Date.parse(ended_at) - Date.parse(created_at)) / 1000,
    state,
    controlled: state.controls.length > 0 && state.controls.every(({ picture }) => picture !== null),
    warnings,
  }));
  return (await Promise.all(pictures)).reverse();
}

/**
 * The same picture without its controls: the same seed, the same everything else.
 * @param {Shown} shown
 * @param {import("./request.js").Offer} offer
 * @param {AbortSignal} signal
 * @returns {Promise<string>} where its bytes are, in this tab
 */
export async function withoutControl(shown, offer, signal) {
  const state = { ...shown.state, controls: [], seed: shown.seed, num_images: 1 };
  const body = { ...bodyOf(state, offer), metadata: { [COMPARED]: shown.generation } };
  const generation = await generate(body, { accepted() {}, progress() {} }, signal);
  if (generation.status !== "succeeded") throw new Error(generation.error?.message ?? `It was ${generation.status}.`);
  return URL.createObjectURL(await readPicture(generation.images[0].url));
}

/** The last pictures that the service has, newest first. @param {number} most */
export async function lastPictures(most) {
  const { data } = await read(`v1/generations?status=succeeded&limit=${most}`);
  const made = data.filter((/** @type {any} */ { metadata }) => !(COMPARED in metadata));
  const pictures = made.map((/** @type {any} */ generation) => picturesOf(generation).catch(() => []));
  return (await Promise.all(pictures)).flat().slice(0, most);
}
