/** What is kept of a generation under way, so that another worker goes on from it: its state and whose arithmetic made it. */
import { deserialize, serialize } from "node:v8";
import type { GenerationState } from "../../src/diffusion/pipeline.ts";
import type { FromEngine } from "./messages.ts";

/** Goes up with every change of GenerationState or of what its numbers mean. */
const FORMAT = 1;

interface Saved {
  readonly format: number;
  /** The execution provider: another one's arithmetic rounds otherwise, and the picture would be neither's. */
  readonly provider: string;
  readonly state: GenerationState;
}

/** @param state one at which nothing that is kept is needed: it is left out */
export function encodeState({ step, pictures }: GenerationState, provider: string): Uint8Array<ArrayBuffer> {
  const state = { step, pictures: pictures.map(({ sampler, noise }) => ({ sampler, noise })) };
  const bytes = serialize({ format: FORMAT, provider, state } satisfies Saved);
  return new Uint8Array(bytes); // of a buffer of its own, to be moved to another thread
}

/** undefined when a worker of another release or provider has saved it: then the generation starts anew. */
export function decodeState(bytes: Uint8Array, provider: string): GenerationState | undefined {
  try {
    const saved = deserialize(bytes) as Saved;
    return saved.format === FORMAT && saved.provider === provider ? saved.state : undefined;
  } catch {
    return undefined;
  }
}

/** The state is saved when this has passed since the last time, or 100 times what saving took: 1 % of the time at most. */
const SAVE_EVERY_MS = 1000;

/** Tells the states of a generation under way, to be kept. */
export class StateSaver {
  readonly #id: string;
  readonly #provider: string;
  readonly #tell: (message: FromEngine, moved: ArrayBuffer[]) => void;
  #due = performance.now() + SAVE_EVERY_MS;

  constructor(id: string, provider: string, tell: (message: FromEngine, moved: ArrayBuffer[]) => void) {
    this.#id = id;
    this.#provider = provider;
    this.#tell = tell;
  }

  saveWhenDue(state: GenerationState): void {
    if (performance.now() >= this.#due) this.save(state);
  }

  save(state: GenerationState): void {
    const begun = performance.now();
    const bytes = encodeState(state, this.#provider);
    const ms = performance.now() - begun;
    this.#tell({ type: "state", id: this.#id, step: state.step, bytes, ms }, [bytes.buffer]);
    this.#due = performance.now() + Math.max(SAVE_EVERY_MS, 100 * ms);
  }
}
