import type { Span } from "../../src/observe/span.ts";

/** The stages of a job that its metrics tell of; a step is a part of `denoise`. */
const STAGES = ["load", "annotate", "encode", "denoise", "decode"] as const;
type Stage = (typeof STAGES)[number];

const isStage = (name: string): name is Stage => (STAGES as readonly string[]).includes(name);

const rootOf = (span: Span): Span => (span.parent === null ? span : rootOf(span.parent));

/** How long each stage of a job has taken; loading, which happens amid the others, counts as `load` alone. */
export class StageTimes {
  readonly ms: Record<Stage, number> = { load: 0, annotate: 0, encode: 0, denoise: 0, decode: 0 };
  readonly #id: string | undefined;

  /** @param id the job's, which its outermost span has as an attribute: other jobs' spans do not count */
  constructor(id?: string) {
    this.#id = id;
  }

  add(span: Span): void {
    const { name, parent, ms = 0 } = span;
    if (!isStage(name) || (this.#id !== undefined && rootOf(span).attributes.id !== this.#id)) return;
    this.ms[name] += ms;
    if (name !== "load") return;
    for (let around = parent; around !== null; around = around.parent) {
      if (isStage(around.name)) this.ms[around.name] -= ms;
    }
  }
}
