/**
 * A generation, from request to pictures: where a reader starts. `prepare` does what is done once, `start` draws the
 * noise, `step` makes one evaluation of the networks for every picture, `decode` turns latents into an image.
 * What changes between steps is plain data (`GenerationState`): written out and read back, it goes on to the same bytes.
 */
import type { Tensor } from "../onnx/tensor.ts";
import type { GenerationRequest } from "../schema.ts";
import { addResiduals, type Control, noResiduals, type Residuals, runsAt } from "./control.ts";
import type { LoadedControlNet, LoadedModel } from "./model.ts";
import { NoiseGenerator, type NoisePosition } from "./noise.ts";
import { fill, repeatRow } from "./rows.ts";
import { createSampler, type Sampler, type SamplerState } from "./samplers.ts";
import { encodePrompts } from "./text.ts";

/** One picture between two evaluations. */
export interface PictureState {
  readonly sampler: SamplerState;
  /** Its noise generator: picture i's is seeded with seed + i. */
  readonly noise: NoisePosition;
}

export interface GenerationState {
  /** Network evaluations done. */
  readonly step: number;
  readonly pictures: readonly PictureState[];
}

/** What a generation's steps have in common; made anew from the request when a state is taken up again. */
export interface Plan {
  readonly request: GenerationRequest;
  readonly model: LoadedModel;
  readonly sampler: Sampler;
  /** [rows, 77, D]. */
  readonly encoder_hidden_states: Tensor;
  /** The ControlNets of each picture. */
  readonly controls: readonly (readonly Control[])[];
  /** [C, h, w] of the latents. */
  readonly latentDims: readonly [number, number, number];
  readonly warnings: readonly string[];
}

/** A control image for all pictures, or one for each: [1, 3, H, W] in 0 … 1. */
export type Hints = readonly Tensor[];

/** Pixels per latent cell. */
export const vaeScale = (model: Pick<LoadedModel, "vae">) => 2 ** (model.vae.block_out_channels.length - 1);

const isGuided = (request: GenerationRequest) => request.guidance_scale > 1;

/**
 * Prompts and hints through their encoders, each hint once.
 * @param hints and @param controlnets in the order of request.controls
 */
export async function prepare(
  request: GenerationRequest,
  model: LoadedModel,
  controlnets: readonly LoadedControlNet[],
  hints: readonly Hints[],
): Promise<Plan> {
  const { encoder_hidden_states, warnings } = await encodePrompts(
    model,
    request.prompt,
    request.negative_prompt,
    isGuided(request),
  );
  const encoded: Tensor[][] = [];
  for (const [i, controlnet] of controlnets.entries()) {
    encoded.push([]);
    for (const hint of hints[i]!) {
      const { hint_embedding } = await controlnet.run.hint({ hint });
      encoded[i]!.push(hint_embedding!);
    }
  }
  const controls = Array.from({ length: request.num_images }, (_, picture) =>
    request.controls.map((control, i) => ({
      ...control,
      controlnet: controlnets[i]!,
      hint_embedding: encoded[i]![encoded[i]!.length === 1 ? 0 : picture]!,
    })),
  );
  const scale = vaeScale(model);
  return {
    request,
    model,
    sampler: createSampler(request.scheduler, model.scheduler, request.num_inference_steps),
    encoder_hidden_states,
    controls,
    latentDims: [model.vae.latent_channels, request.height / scale, request.width / scale],
    warnings,
  };
}

/** Pure noise for every picture. */
export function start({ request, sampler, latentDims }: Plan): GenerationState {
  const size = latentDims.reduce((product, dim) => product * dim, 1);
  const pictures = Array.from({ length: request.num_images }, (_, i) => {
    const noise = new NoiseGenerator(request.seed + i);
    const latents = noise.normal(size).map((value) => value * sampler.initNoiseSigma);
    return { sampler: sampler.start(latents), noise: noise.position };
  });
  return { step: 0, pictures };
}

/** Classifier-free guidance (arXiv 2207.12598): away from the unconditional row, toward the prompt's. */
function guide({ data }: Tensor, scale: number): Float32Array {
  const half = data.length / 2;
  const [uncond, cond] = [data.subarray(0, half) as Float32Array, data.subarray(half) as Float32Array];
  return uncond.map((value, i) => value + scale * (cond[i]! - value));
}

/** noise_pred [C, h, w] of one picture at the state's step: every open ControlNet, then the locked U-Net on their sum. */
async function predict(plan: Plan, controls: readonly Control[], state: SamplerState): Promise<Float32Array> {
  const { request, model, sampler, encoder_hidden_states } = plan;
  const rows = encoder_hidden_states.dims[0]!;
  const inputs = {
    sample: repeatRow(plan.latentDims, sampler.input(state), rows),
    timestep: fill([rows], sampler.timesteps[state.step]!),
    encoder_hidden_states,
  };
  let residuals: Residuals = noResiduals(model.unet);
  for (const control of controls) {
    if (runsAt(control, state.step, sampler.total)) {
      residuals = await addResiduals(residuals, control, inputs, request.guess_mode);
    }
  }
  const { out } = await model.run.unet({ ...inputs, ...residuals });
  return isGuided(request) ? guide(out!, request.guidance_scale) : (out!.data as Float32Array);
}

/** One evaluation for every picture. */
export async function step(plan: Plan, state: GenerationState): Promise<GenerationState> {
  const pictures: PictureState[] = [];
  // One picture after the other: a picture's bytes must not depend on what it is computed beside.
  for (const [i, picture] of state.pictures.entries()) {
    const output = await predict(plan, plan.controls[i]!, picture.sampler);
    const noise = new NoiseGenerator(picture.noise);
    const sampler = plan.sampler.next(picture.sampler, output, (count) => noise.normal(count));
    pictures.push({ sampler, noise: noise.position });
  }
  return { step: state.step + 1, pictures };
}

/** The latents of a picture → its image [3, H, W], about -1 … 1. */
export async function decode({ model, latentDims }: Plan, { sampler }: PictureState): Promise<Float32Array> {
  const latents = sampler.latents.map((value) => value / model.vae.scaling_factor);
  const { image } = await model.run.vae_decoder({ latents: { dims: [1, ...latentDims], data: latents } });
  return image!.data as Float32Array;
}
