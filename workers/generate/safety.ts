/** Pictures before anybody sees them: what the safety checker says, and what becomes of those that it flags. */
import type { SafetyMode } from "../../src/config/api-keys.ts";
import type { Runner } from "../../src/diffusion/load.ts";
import { verdictOf } from "../../src/diffusion/safety.ts";
import { clipPixels } from "../../src/image/clip-pixels.ts";
import type { Pixels } from "../../src/image/pixels.ts";
import type { SafetyChecker } from "../../src/models/safety-checker.ts";
import type { GenerationRequest } from "../../src/schema/generation-request.ts";

/** A generation's picture number `index` as it may be shown. */
export type Inspect = (pixels: Pixels, index: number) => Promise<{ pixels: Pixels; flagged: boolean | null }>;

export interface Inspection {
  readonly inspect: Inspect;
  /** The request, without previews where these would show what is checked only later. */
  readonly shown: GenerationRequest;
  /** What the client is to know, filled as pictures are inspected. */
  readonly told: readonly string[];
}

/** @throws Error where pictures must be checked and there is nothing to do it with */
export function inspection(
  mode: SafetyMode,
  checker: SafetyChecker | null,
  request: GenerationRequest,
  runner: Runner,
): Inspection {
  const unchecked: Inspect = async (pixels) => ({ pixels, flagged: null });
  if (mode === "off") return { inspect: unchecked, shown: request, told: [] };
  if (checker === null && mode === "blank") {
    throw new Error(`this worker has no safety checker for "${request.model}", and the pictures must be checked`);
  }
  if (checker === null) {
    const told = [`"${request.model}" has no safety checker: the pictures are not checked`];
    return { inspect: unchecked, shown: request, told };
  }
  const run = runner(checker.network);
  const { image_size: side } = checker.config;
  const told: string[] = [];
  const inspect: Inspect = async (pixels, index) => {
    const pixel_values = { dims: [1, 3, side, side], data: clipPixels(pixels, side) };
    const { flagged } = verdictOf(await run({ pixel_values }));
    if (!flagged || mode === "flag") return { pixels, flagged };
    told.push(`images[${index}] is black: the safety checker has flagged what was made`);
    return { pixels: { ...pixels, data: new Uint8Array(pixels.data.length) }, flagged };
  };
  if (mode === "flag" || !request.preview) return { inspect, shown: request, told };
  told.push("preview: none is sent, because pictures are checked before they are shown");
  return { inspect, shown: { ...request, preview: false }, told };
}
