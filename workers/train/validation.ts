/** Pictures that a ControlNet in training makes, so that its owner sees when it begins to follow the hint. */
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { loadControlNet, loadModel, type Runner } from "../../src/diffusion/load.ts";
import { defaultScheduler } from "../../src/diffusion/own-scheduler.ts";
import { decodePicture, prepare, step } from "../../src/diffusion/pipeline.ts";
import { hint, toPixels } from "../../src/image/hint.ts";
import type { Pixels } from "../../src/image/pixels.ts";
import { openBase, openControlNet } from "../../src/models/base.ts";
import type { Network } from "../../src/models/network.ts";
import { GenerationRequest } from "../../src/schema/generation-request.ts";
import { DatasetError } from "../../src/training/dataset.ts";
import { CPU, openSession, type Session } from "../runtime/runtime.ts";
import { Pictures } from "./pictures.ts";
import type { Signal } from "./subject.ts";

export interface Validation {
  readonly prompt: string;
  /** The hint's file. */
  readonly image: string;
}

/**
 * What to validate with: a JSON list of {prompt, image}, images relative to the file.
 * @throws DatasetError
 */
export function readValidation(file: string): Validation[] {
  const entries: unknown = JSON.parse(readFileSync(file, "utf8"));
  if (
    !Array.isArray(entries) ||
    !entries.every(({ prompt, image } = {}) => prompt !== undefined && image !== undefined)
  ) {
    throw new DatasetError(`${file}: not a list of {"prompt": …, "image": …}`);
  }
  return entries.map(({ prompt, image }) => ({ prompt: String(prompt), image: join(dirname(file), String(image)) }));
}

/**
 * One picture for each entry, with the service's defaults, by a base and a ControlNet in the diffusers layout. Ends before
 * the next evaluation once `signal` says so.
 */
export async function* validate(
  base: string,
  controlnet: string,
  validation: readonly Validation[],
  { resolution, seed }: { readonly resolution: number; readonly seed: number },
  signal: Signal,
): AsyncGenerator<Pixels> {
  const sessions = new Map<Network, Promise<Session>>();
  const runner: Runner = (network) => async (feeds) => {
    const session = sessions.get(network) ?? openSession(network.graph(), CPU);
    sessions.set(network, session);
    return (await session).run(feeds);
  };
  const model = loadModel(openBase(base), runner, runner);
  const trained = loadControlNet(openControlNet(controlnet), runner, runner);
  const hints = new Pictures(resolution);
  try {
    for (const { prompt, image } of validation) {
      const request = GenerationRequest.parse({
        model: "base",
        prompt,
        width: resolution,
        height: resolution,
        scheduler: defaultScheduler(model.scheduler).scheduler,
        seed,
        image: null,
        mask_image: null,
        strength: null,
        controls: [{ controlnet: "trained", image: `sha256:${"0".repeat(64)}`, mask: null }],
      });
      const data = hint(await hints.get(image));
      const plan = await prepare(request, model, [trained], {
        hints: [[async () => ({ dims: [1, 3, resolution, resolution], data })]],
        masks: [null],
        source: null,
      });
      let state = plan.start;
      while (state.step < plan.sampler.total) {
        if (signal.aborted) {
          return;
        }
        state = await step(plan, state);
      }
      yield toPixels(await decodePicture(plan, state.pictures[0]!), resolution, resolution);
    }
  } finally {
    for (const session of sessions.values()) {
      await (await session).release();
    }
  }
}
