/** What is kept of a generation under way, so that another worker goes on from it: its state and whose arithmetic made it. */
import { deserialize, serialize } from "node:v8";
import type { GenerationState } from "../../src/diffusion/pipeline.ts";

/** Goes up with every change of GenerationState or of what its numbers mean. */
const FORMAT = 1;

interface Saved {
  readonly format: number;
  /** The execution provider: another one's arithmetic rounds otherwise, and the picture would be neither's. */
  readonly provider: string;
  readonly state: GenerationState;
}

export function encodeState(state: GenerationState, provider: string): Uint8Array<ArrayBuffer> {
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
