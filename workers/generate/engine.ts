/**
 * The engine thread of a generation worker: it holds the networks and steps generations. A session's run blocks the thread
 * that it is on, so nothing else lives here; between two evaluations the thread hears whether to go on.
 */
import { setImmediate } from "node:timers/promises";
import { parentPort, workerData } from "node:worker_threads";
import { loadControlNet, loadModel, type Runner } from "../../src/diffusion/load.ts";
import { decode, type GenerationState, type Plan, prepare, step } from "../../src/diffusion/pipeline.ts";
import { preview } from "../../src/diffusion/preview.ts";
import { encode } from "../../src/image/encode.ts";
import { toPixels } from "../../src/image/hint.ts";
import type { Pixels } from "../../src/image/pixels.ts";
import { resize } from "../../src/image/resize.ts";
import { CELL } from "../../src/models/vae.ts";
import type { Tensor } from "../../src/onnx/tensor.ts";
import type { ShelfName } from "../../src/schema/catalog.ts";
import { CONTENT_TYPES } from "../../src/schema/generation-request.ts";
import { Memo } from "../runtime/memo.ts";
import { PreparedCache } from "../runtime/prepared.ts";
import { Residents } from "../runtime/residents.ts";
import { chooseProvider } from "../runtime/runtime.ts";
import { readImages } from "./images.ts";
import { openLibrary } from "./library.ts";
import type { EngineSettings, FromEngine, MadeImage, ToEngine } from "./messages.ts";
import { decodeState, encodeState } from "./saved-state.ts";
import type { Opened } from "./shelves.ts";

const port = parentPort!;
const { modelsDir, executionProvider, cacheDir, memoryBudget } = workerData as EngineSettings;
const send = (message: FromEngine) => port.postMessage(message);

const provider = await chooseProvider(executionProvider);
const cache = new PreparedCache(cacheDir, (message) => send({ type: "warning", message }));
const residents = new Residents(provider, cache, memoryBudget);
let library = openLibrary(modelsDir);
/** The generation under way, and whether it is to stop. */
let running: { readonly id: string; asked: "cancel" | "yield" | null } | null = null;

/** The state is saved when this has passed since the last time, or 100 times what saving took: 1 % of the time at most. */
const SAVE_EVERY_MS = 1000;

/** What requests have named, ready to run, by shelf and id. */
const ready = new Map<string, unknown>();
const place = (shelf: ShelfName, id: string) => `${shelf}/${id}`;

/** Reads MODELS_DIR again. What is loaded already stays as it is. */
function reload(): void {
  library = openLibrary(modelsDir);
  send({ type: "catalog", catalog: { ...library.catalog, execution_provider: provider.name } });
}

/** What is ready under `id` of a shelf, or what `load` makes of the library's. @throws Error naming what this worker does not have */
function find<Name extends ShelfName, To>(shelf: Name, id: string, load: (from: Opened<Name>) => To): To {
  const known = ready.get(place(shelf, id)) as To | undefined;
  if (known !== undefined) {
    return known;
  }
  if (!library[shelf].has(id)) {
    reload(); // another worker may have heard of it first
  }
  const entry = library[shelf].get(id);
  if (entry === undefined) {
    const skipped = library.catalog.skipped.find((one) => one.shelf === shelf && one.id === id);
    throw new Error(`this worker has no "${id}" among its ${shelf}${skipped ? `: ${skipped.reason}` : ""}`);
  }
  const loaded = load(entry as Opened<Name>);
  ready.set(place(shelf, id), loaded);
  return loaded;
}

/** Bytes of encoded prompts and hints that are kept: a prompt takes 0.5 MB, a hint at 512² 5 MB. */
const MEMO_BYTES = 256 * 2 ** 20;
const memo = new Memo(MEMO_BYTES);

const runner: Runner = (network) => residents.runner(network);
const remembering: Runner = (network) => memo.memoize(network, runner(network));

/** Somebody wants the generation to stop before its first step. */
class Asked extends Error {}

async function generate({
  id,
  request,
  images,
  state: saved,
}: Extract<ToEngine, { type: "generate" }>): Promise<FromEngine> {
  residents.beginGeneration();
  const job: NonNullable<typeof running> = { id, asked: null };
  running = job;
  const model = find("models", request.model, (base) => loadModel(base, runner, remembering));
  const chosen = request.controls.map(({ controlnet }) =>
    find("controlnets", controlnet, (one) => loadControlNet(one, runner, remembering)),
  );

  const clock = stopwatch();
  let plan: Plan;
  try {
    const turn = async () => {
      await setImmediate(); // lets a cancel in
      if (job.asked !== null) throw new Asked();
    };
    plan = await prepare(request, model, chosen, await readImages(request, images, turn));
  } catch (error) {
    if (!(error instanceof Asked)) throw error;
    return { type: job.asked === "cancel" ? "canceled" : "yielded", id };
  }
  const encodeMs = clock();

  let state = (saved && decodeState(saved, provider.name)) ?? plan.start;
  const first = state.step;
  const { total } = plan.sampler;
  const save = saver(id);
  while (state.step < total) {
    await setImmediate(); // lets a cancel in
    if (job.asked === "cancel") {
      return { type: "canceled", id };
    }
    if (job.asked === "yield") {
      save(state, true);
      return { type: "yielded", id };
    }
    let shown: Uint8Array | null = null;
    const see = async (denoised: Tensor) => {
      const { dims, data } = await preview(model, denoised);
      shown = await encode(small(toPixels(data as Float32Array, dims[3]!, dims[2]!)), "jpeg");
    };
    state = await step(plan, state, request.preview ? see : undefined);
    send({ type: "progress", id, step: state.step, total, preview: shown });
    save(state);
  }
  const denoiseMs = clock();

  const made: MadeImage[] = [];
  const [width, height] = [plan.latentDims[2] * CELL, plan.latentDims[1] * CELL];
  for (const [i, picture] of state.pictures.entries()) {
    await setImmediate();
    if (job.asked === "cancel") {
      return { type: "canceled", id };
    }
    const bytes = await encode(toPixels(await decode(plan, picture), width, height), request.output_format);
    const content_type = CONTENT_TYPES[request.output_format];
    made.push({ bytes, seed: request.seed + i, width, height, content_type });
  }
  const metrics = {
    load_ms: residents.loadMs,
    encode_ms: encodeMs,
    denoise_ms: denoiseMs,
    decode_ms: clock(),
    steps_per_second: (1000 * (total - first)) / denoiseMs,
  };
  return { type: "done", id, images: made, warnings: [...plan.warnings], metrics };
}

/** Previews are kept in Redis as long as their generation: at most this many pixels a side, some 30 kB. */
const PREVIEW_SIDE = 256;

function small(pixels: Pixels): Pixels {
  const scale = PREVIEW_SIDE / Math.max(pixels.width, pixels.height);
  if (scale >= 1) return pixels;
  const [width, height] = [pixels.width, pixels.height].map((side) => Math.max(1, Math.round(side * scale)));
  return resize(pixels, width!, height!);
}

/** Sends states to be kept, now and then or `atOnce`. */
function saver(id: string): (state: GenerationState, atOnce?: boolean) => void {
  let due = performance.now() + SAVE_EVERY_MS;
  return (state, atOnce = false) => {
    const begun = performance.now();
    if (begun < due && !atOnce) {
      return;
    }
    const bytes = encodeState(state, provider.name);
    const ms = performance.now() - begun;
    const message: FromEngine = { type: "state", id, step: state.step, bytes, ms };
    port.postMessage(message, [bytes.buffer]);
    due = performance.now() + Math.max(SAVE_EVERY_MS, 100 * ms);
  };
}

/** Milliseconds since the last call that were not spent on loading networks. */
function stopwatch(): () => number {
  const working = () => performance.now() - residents.loadMs;
  let last = working();
  return () => {
    const now = working();
    const elapsed = now - last;
    last = now;
    return elapsed;
  };
}

async function handle(message: ToEngine): Promise<void> {
  if (message.type === "reload") {
    if (message.controlnet !== null) {
      ready.delete(place("controlnets", message.controlnet));
    }
    reload();
    return;
  }
  if (message.type !== "generate") {
    if (running?.id === message.id) {
      running.asked = message.type;
    }
    return;
  }
  try {
    send(await generate(message));
  } catch (error) {
    send({ type: "failed", id: message.id, code: "generation_failed", message: (error as Error).message });
  }
}

port.on("message", handle);
send({ type: "catalog", catalog: { ...library.catalog, execution_provider: provider.name } });
