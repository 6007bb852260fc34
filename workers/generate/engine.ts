/** The engine of a generation worker: it holds the networks and carries generations out, one at a time. */
import { setImmediate } from "node:timers/promises";
import { adapt } from "../../src/diffusion/adapters/adapt.ts";
import { NotFinite } from "../../src/diffusion/finite.ts";
import { type Join, loadControlNet, loadModel, type Runner } from "../../src/diffusion/load.ts";
import type { LoadedControlNet, LoadedModel } from "../../src/diffusion/model.ts";
import { type GenerationState, type Plan, prepare, step } from "../../src/diffusion/pipeline.ts";
import { isFresh } from "../../src/diffusion/reuse.ts";
import type { Network } from "../../src/models/network.ts";
import type { BaseModel, ControlNet } from "../../src/models/opened.ts";
import { type Attributes, onSpan, span } from "../../src/observe/span.ts";
import type { Tensor } from "../../src/onnx/tensor.ts";
import type { ShelfName } from "../../src/schema/catalog.ts";
import type { GenerationRequest } from "../../src/schema/generation-request.ts";
import { Memo } from "../runtime/memo.ts";
import { PreparedCache } from "../runtime/prepared.ts";
import { chooseProvider } from "../runtime/provider.ts";
import { Residents } from "../runtime/residents.ts";
import { type Provider, runOnce } from "../runtime/runtime.ts";
import { chooseAdapters, type Take } from "./adapters.ts";
import { alphaWarnings } from "./alpha-warnings.ts";
import { Fitted } from "./fitted.ts";
import { readImages } from "./images.ts";
import { joining } from "./joining.ts";
import { type Library, openLibrary, placeOf } from "./library.ts";
import { makeImages } from "./make-images.ts";
import { makeControlMaps, showMaps } from "./maps/controls.ts";
import { MapError } from "./maps/made.ts";
import { Maps } from "./maps/maps.ts";
import type { EngineSettings, FromEngine, ToEngine } from "./messages.ts";
import { type MakeFile, openFiles } from "./picture-file.ts";
import { preload } from "./preload.ts";
import { previewJpeg } from "./preview-jpeg.ts";
import { inspection } from "./safety.ts";
import { decodeState, StateSaver } from "./saved-state.ts";
import type { Opened } from "./shelves.ts";
import { StageTimes } from "./stage-times.ts";
import { AskedToStop, begun, endIfCanceled, turnOf, type UnderWay } from "./under-way.ts";

/** Says something to the main thread; the buffers move there. */
export type Tell = (message: FromEngine, moved?: ArrayBuffer[]) => void;
type Task = Extract<ToEngine, { type: "generate" }>;
type AnnotateTask = Extract<ToEngine, { type: "annotate" }>;

/** What a job of each kind is called among the spans. */
const SPANS = { generation: "generate", annotation: "annotation" } as const;

/** Bytes of encoded prompts and hints that are kept: a prompt takes 0.5 MB, a hint at 512² 5 MB. */
const MEMO_BYTES = 256 * 2 ** 20;

export class Engine {
  readonly #settings: EngineSettings;
  readonly #provider: Provider;
  readonly #residents: Residents;
  readonly #memo = new Memo(MEMO_BYTES);
  readonly #join: Join;
  readonly #tell: Tell;
  /** What requests have named, ready to run, by shelf and id. */
  readonly #ready = new Map<string, unknown>();
  #library: Library;
  /** What runs: one generation at most, and annotations between its evaluations. */
  readonly #running = new Map<string, UnderWay>();
  readonly #maps: Maps;
  readonly #fitted = new Fitted();
  readonly #fileOf: MakeFile;

  private constructor(settings: EngineSettings, provider: Provider, fileOf: MakeFile, tell: Tell) {
    const { modelsDir, cacheDir, memoryBudget } = settings;
    this.#fileOf = fileOf;
    const cache = new PreparedCache(cacheDir, (message) => tell({ type: "warning", message }));
    this.#settings = settings;
    this.#provider = provider;
    this.#residents = new Residents(provider, cache, memoryBudget);
    this.#join = joining(provider, this.#residents.budget);
    this.#tell = tell;
    this.#library = openLibrary(modelsDir);
    this.#maps = new Maps(modelsDir, (network) => this.#residents.runner(network));
  }

  /** @throws Error when the execution provider that is named does not work here, or pictures cannot be signed */
  static async open(settings: EngineSettings, tell: Tell): Promise<Engine> {
    const { provider, reason } = await chooseProvider(settings.executionProvider, settings.precision);
    tell({
      type: "told",
      message: reason === null ? `computes on ${provider.name}` : `computes on the CPU: ${reason}`,
    });
    return new Engine(settings, provider, await openFiles(settings.files), tell);
  }

  /** Tells what there is in MODELS_DIR. */
  offer(): void {
    const { annotators, skipped } = this.#maps.offer;
    const { catalog } = this.#library;
    const models = catalog.models.map((model) => ({ ...model, precision: this.#settings.precision }));
    const offered = { ...catalog, models, annotators, skipped: [...catalog.skipped, ...skipped] };
    this.#tell({ type: "catalog", catalog: { ...offered, execution_provider: this.#provider.name } });
  }

  /**
   * Loads what a sole model's first requests need, until somebody asks for a picture. What cannot be loaded fails that request.
   * @param what all of it when the worker starts; later the form that takes LoRA, which is ready in seconds
   */
  async preload(what: "all" | "forms", isStopping: () => boolean): Promise<void> {
    const open = (id: string) => this.#model(id).base;
    const isAsked = () => isStopping() || this.#running.size > 0;
    await preload(what, this.#library, open, this.#residents, isAsked).catch(() => {});
  }

  /** Reads MODELS_DIR again. What is loaded stays as it is where its files are the same. */
  reload(): void {
    const { stamps } = this.#library;
    this.#library = openLibrary(this.#settings.modelsDir);
    for (const place of this.#ready.keys()) {
      if (stamps.get(place) !== this.#library.stamps.get(place)) this.#ready.delete(place);
    }
    this.#maps.reload();
    this.offer();
  }

  /** Asks a job to stop before its next evaluation; nothing happens when it does not run. */
  ask(what: "cancel" | "yield", id: string): void {
    const running = this.#running.get(id);
    if (running === undefined || running.asked === "cancel") return;
    running.asked = what;
    running.stop.abort(new AskedToStop());
  }

  /** Makes a map by networks, and says what has become of it. */
  async annotate({ id, task, hashes }: AnnotateTask): Promise<FromEngine> {
    return this.#run(id, "annotation", {}, async (running, times) => {
      const stopping = { turn: () => turnOf(running), signal: running.stop.signal };
      const made = await this.#maps.make(task, hashes, stopping);
      return { type: "annotated", id, made, load_ms: times.ms.load };
    });
  }

  /** Carries a generation out, as far as it is let, and says what has become of it. */
  async generate(task: Task): Promise<FromEngine> {
    const { id, request } = task;
    const { model } = request;
    return this.#run(id, "generation", { model }, (running, times) => this.#carryOut(task, running, times));
  }

  async #run(
    id: string,
    kind: "generation" | "annotation",
    attributes: Attributes,
    work: (running: UnderWay, times: StageTimes) => Promise<FromEngine>,
  ): Promise<FromEngine> {
    const running = begun(id);
    this.#running.set(id, running);
    const times = new StageTimes(id);
    const stop = onSpan((ended) => times.add(ended));
    try {
      return await span(SPANS[kind], { id, ...attributes }, () => work(running, times));
    } catch (error) {
      if (error instanceof AskedToStop) return { type: running.asked === "cancel" ? "canceled" : "yielded", id };
      const known = error instanceof NotFinite || error instanceof MapError;
      const code = known ? error.code : `${kind}_failed`;
      return { type: "failed", id, code, message: (error as Error).message };
    } finally {
      stop();
      this.#running.delete(id);
    }
  }

  async #carryOut(task: Task, running: UnderWay, times: StageTimes): Promise<FromEngine> {
    const { id, request, images, state, safety } = task;
    this.#residents.beginGeneration();
    const { base, loaded } = this.#model(request.model);
    const checker = base.safety_checker ?? this.#library.safety_checker;
    const { inspect, shown, told } = inspection(safety, checker, request, this.#runner);
    const chosen = request.controls.map(({ controlnet }) => this.#controlnet(controlnet)(base));
    const turn = () => turnOf(running);
    const stopping = { turn, signal: running.stop.signal };
    const { made: maps, warnings } = await span("annotate", {}, () =>
      makeControlMaps(request, images, this.#maps, this.#settings.maxPixels, stopping),
    );
    using ending = new DisposableStack();
    const plan = await span("encode", {}, async () => {
      const added = await chooseAdapters(request, images, turn, this.#take, this.#remembering);
      const warn = (warning: string) => void warnings.push(warning);
      const model = await adapt(base, loaded, added, this.#runners);
      ending.defer(model.free);
      return prepare(request, model, chosen, await readImages(request, images, turn, maps, warn, this.#fitted), added);
    });
    const clear = await alphaWarnings(request, images, turn);
    const start = (state && decodeState(state, this.#provider.name)) ?? plan.start;
    const done = await span("denoise", {}, () => this.#denoise(plan, start, shown, running));
    const how = { fileOf: this.#fileOf, precision: this.#settings.precision };
    const made = await span("decode", {}, () =>
      makeImages(plan, done, request, how, inspect, () => endIfCanceled(running)),
    );
    const metrics = {
      load_ms: times.ms.load,
      annotate_ms: times.ms.annotate,
      encode_ms: times.ms.encode,
      denoise_ms: times.ms.denoise,
      decode_ms: times.ms.decode,
      steps_per_second: (1000 * (plan.sampler.total - start.step)) / times.ms.denoise,
    };
    const controls = await showMaps(maps);
    const all = [...clear, ...plan.warnings, ...warnings, ...told];
    return { type: "done", id, images: made, controls, warnings: all, metrics };
  }

  async #denoise(
    plan: Plan,
    start: GenerationState,
    request: GenerationRequest,
    running: UnderWay,
  ): Promise<GenerationState> {
    const { total } = plan.sampler;
    const saver = new StateSaver(running.id, this.#provider.name, this.#tell);
    let state = start;
    let fresh = start; // the last that another worker can go on from
    while (state.step < total) {
      await setImmediate(); // lets a cancel in
      if (running.asked === "yield") saver.save(fresh);
      if (running.asked !== null) throw new AskedToStop();
      let shown: Uint8Array | null = null;
      const see = async (denoised: Tensor) => {
        shown = await previewJpeg(plan.model, denoised);
      };
      const before = state;
      state = await span("step", { step: before.step + 1 }, () =>
        step(plan, before, request.preview ? see : undefined),
      );
      this.#tell({ type: "progress", id: running.id, step: state.step, total, preview: shown });
      if (isFresh(request, state.step)) {
        fresh = state;
        saver.saveWhenDue(fresh);
      }
    }
    return state;
  }

  /** A model as it was opened, and as it was loaded from that. */
  #model(id: string): { base: BaseModel; loaded: LoadedModel } {
    return this.#find("models", id, (base) => ({
      base,
      loaded: loadModel(base, this.#runner, this.#remembering, this.#join),
    }));
  }

  #controlnet(id: string): (base: BaseModel) => LoadedControlNet {
    return this.#find("controlnets", id, (shelved) => {
      const loaded = new Map<ControlNet, LoadedControlNet>();
      return (base) => {
        const one = shelved.on(base);
        const own = loaded.get(one) ?? loadControlNet(one, this.#runner, this.#remembering);
        loaded.set(one, own);
        return own;
      };
    });
  }

  readonly #runner: Runner = (network) => this.#residents.runner(network);
  readonly #remembering: Runner = (network) => this.#memo.memoize(network, this.#runner(network));

  get #runners() {
    const { budget } = this.#residents;
    return {
      runner: this.#runner,
      remembering: this.#remembering,
      once: (network: Network) => runOnce(network.graph()),
      join: this.#join,
      budget,
    };
  }
  readonly #take: Take = (shelf, id) => this.#find(shelf, id, (opened) => opened);

  /** What is ready under `id` of a shelf, or what `load` makes of the library's. @throws Error naming what this worker does not have */
  #find<Name extends ShelfName, To>(shelf: Name, id: string, load: (from: Opened<Name>) => To): To {
    const place = placeOf(shelf, id);
    if (!this.#library.stamps.isCurrent(place)) this.reload(); // replaced just now
    const known = this.#ready.get(place) as To | undefined;
    if (known !== undefined) return known;
    if (!this.#library[shelf].has(id)) this.reload(); // another worker may have heard of it first
    const entry = this.#library[shelf].get(id);
    if (entry === undefined) {
      const skipped = this.#library.catalog.skipped.find((one) => one.shelf === shelf && one.id === id);
      throw new Error(`this worker has no "${id}" among its ${shelf}${skipped ? `: ${skipped.reason}` : ""}`);
    }
    const loaded = load(entry as Opened<Name>);
    this.#ready.set(place, loaded);
    return loaded;
  }
}
