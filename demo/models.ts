/** The demo's networks, loaded for benches and pictures of the documentation: no service around them. */
import { loadControlNet, loadModel, type Runner } from "../src/diffusion/load.ts";
import type { LoadedControlNet } from "../src/diffusion/model.ts";
import { decodePicture, prepare, step } from "../src/diffusion/pipeline.ts";
import { hint, sample, toPixels } from "../src/image/hint.ts";
import type { Pixels } from "../src/image/pixels.ts";
import type { Network } from "../src/models/network.ts";
import { GenerationRequest } from "../src/schema/generation-request.ts";
import type { Speed } from "../src/schema/speed.ts";
import { openLibrary } from "../workers/generate/library.ts";
import { CPU, openSession, type Session } from "../workers/runtime/runtime.ts";
import { SIDE } from "./world/landscape.ts";
import type { Condition } from "./world/maps.ts";

/** A control map and how strongly it acts. */
export interface Control {
  readonly condition: Condition;
  readonly map: Pixels;
  readonly scale?: number;
}

export interface Wish extends Partial<Speed> {
  readonly prompt: string;
  readonly seed: number;
  readonly controls: readonly Control[];
  readonly guess_mode?: boolean;
}

/** The service's default of 7.5 is for large models; this small one's colours then run beyond their outlines. */
export const GUIDANCE = 3;

/** Stands for the images of a request, which are given as tensors. */
const GIVEN = `sha256:${"0".repeat(64)}`;

const tensor = (data: Float32Array) => ({ dims: [1, 3, SIDE, SIDE], data });

/** A MODELS_DIR with one base and ControlNets named after conditions. @param provider what it is drawn on */
export function openDemo(dir: string, provider = CPU) {
  const { models, controlnets, catalog } = openLibrary(dir);
  const [first] = models;
  if (first === undefined) {
    throw new Error(`${dir}: there is no model in it`);
  }
  const [id, base] = first;
  const sessions = new Map<Network, Promise<Session>>();
  const runner: Runner = (network) => async (feeds) => {
    const session =
      sessions.get(network) ?? openSession(network.graph(provider === CPU ? undefined : provider), provider);
    sessions.set(network, session);
    return (await session).run(feeds);
  };
  const model = loadModel(base, runner, runner);
  const loaded = new Map<string, LoadedControlNet>(
    [...controlnets].map(([name, one]) => [name, loadControlNet(one.on(base), runner, runner)]),
  );
  return {
    conditions: [...controlnets.keys()] as Condition[],

    /** What the service makes of a request with its defaults, but for the guidance. */
    async draw({ prompt, seed, controls, guess_mode = false, ...speed }: Wish): Promise<Pixels> {
      const request = GenerationRequest.parse({
        model: id,
        prompt,
        seed,
        width: SIDE,
        height: SIDE,
        scheduler: catalog.models[0]!.scheduler,
        guidance_scale: GUIDANCE,
        guess_mode,
        ...speed,
        image: null,
        mask_image: null,
        strength: null,
        controls: controls.map(({ condition, scale }) => ({
          controlnet: condition,
          image: GIVEN,
          mask: null,
          ...(scale !== undefined && { conditioning_scale: scale }),
        })),
      });
      const hints = controls.map(({ map }) => [async () => tensor(hint(map))]);
      const chosen = controls.map(({ condition }) => loaded.get(condition)!);
      const plan = await prepare(request, model, chosen, { hints, masks: controls.map(() => null), source: null });
      let state = plan.start;
      while (state.step < plan.sampler.total) {
        state = await step(plan, state);
      }
      return toPixels(await decodePicture(plan, state.pictures[0]!), SIDE, SIDE);
    },

    /** A picture through the VAE and back: the best that any picture of the model can be. */
    async reconstruct(picture: Pixels): Promise<Pixels> {
      const moments = (await model.run.vae_encoder({ image: tensor(sample(picture)) })).moments!;
      const [, channels, height, width] = moments.dims as [number, number, number, number];
      const means = (moments.data as Float32Array).slice(0, (channels / 2) * height * width);
      const latents = { dims: [1, channels / 2, height, width], data: means };
      return toPixels((await model.run.vae_decoder({ latents })).image!.data as Float32Array, SIDE, SIDE);
    },

    async close(): Promise<void> {
      for (const session of sessions.values()) {
        await (await session).release();
      }
    },
  };
}
export type Demo = ReturnType<typeof openDemo>;
