import type { Span } from "../../src/observe/span.ts";

/** The stages of a generation that its metrics tell of; a step is a part of `denoise`. */
const STAGES = ["load", "encode", "denoise", "decode"] as const;
type Stage = (typeof STAGES)[number];

const isStage = (name: string): name is Stage => (STAGES as readonly string[]).includes(name);

/** How long each stage of a generation has taken; loading, which happens amid the others, counts as `load` alone. */
export class StageTimes {
  readonly ms: Record<Stage, number> = { load: 0, encode: 0, denoise: 0, decode: 0 };

  add({ name, parent, ms = 0 }: Span): void {
    if (!isStage(name)) return;
    this.ms[name] += ms;
    if (name !== "load") return;
    for (let around = parent; around !== null; around = around.parent) {
      if (isStage(around.name)) this.ms[around.name] -= ms;
    }
  }
}
