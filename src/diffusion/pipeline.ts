/**
 * A generation, from request to pictures: where a reader starts. `prepare` does what is done once, `step` makes one
 * evaluation of the networks for every picture, `decode` turns latents into an image.
 * What changes between steps is plain data (`GenerationState`): written out and read back, it goes on to the same bytes.
 */
import { shownBeside } from "../models/unet-inputs.ts";
import { CELL } from "../models/vae.ts";
import type { Tensor } from "../onnx/tensor.ts";
import type { GenerationRequest } from "../schema/generation-request.ts";
import { type Adapted, type Chosen, NOTHING } from "./adapters/adapt.ts";
import { unusedEmbeddings } from "./adapters/embeddings.ts";
import { type FeaturesAt, prepareFeatures } from "./adapters/t2i-adapters.ts";
import { checkStep } from "./blame.ts";
import { readConditions } from "./conditions.ts";
import { addResiduals, type Control, noResiduals, openHints, type Residuals, type StepInputs } from "./control.ts";
import { checkFinite } from "./finite.ts";
import { guidanceEmbedding, guidanceRows, guide } from "./guidance.ts";
import { type ControlImages, prepareControls } from "./hints.ts";
import { jointFeeds, jointRun } from "./jointly.ts";
import { toVae } from "./latents.ts";
import type { LoadedControlNet, LoadedModel, Run } from "./model.ts";
import { NoiseGenerator, type NoisePosition } from "./noise.ts";
import { assumedFor } from "./own-scheduler.ts";
import { requestConfig } from "./request-config.ts";
import { isControlled, isWhole, type Kept, NOTHING_KEPT, residualsNeeded } from "./reuse.ts";
import { fill, repeatRow } from "./rows.ts";
import { createSampler, type Sampler, type SamplerState } from "./samplers.ts";
import { type Beginning, begin, blend, readShownImage, type Source, withExtra } from "./source.ts";
import { decodeTiled } from "./tiles.ts";

/** One picture between two evaluations. */
export interface PictureState {
  readonly sampler: SamplerState;
  /** Its noise generator: picture i's is seeded with seed + i. */
  readonly noise: NoisePosition;
  /** What it takes from earlier evaluations; where reuse.ts says that none is needed, it may be left out. */
  readonly kept?: Kept;
}

export interface GenerationState {
  /** Network evaluations done. */
  readonly step: number;
  readonly pictures: readonly PictureState[];
}

/** What all steps of one picture have in common. */
interface Picture extends Pick<Beginning, "keep" | "extra"> {
  readonly controls: readonly Control[];
}

/** What a generation's steps have in common; made anew from the request when a state is taken up again. */
export interface Plan {
  readonly request: GenerationRequest;
  readonly model: LoadedModel;
  /** What the U-Net is called in an error, with what a request adds to it. */
  readonly unet: string;
  readonly sampler: Sampler;
  /** What the networks are told beside sample and timestep, [rows, …]: where there is guidance the unconditional row first (guidance.ts). */
  readonly conditions: Readonly<Record<string, Tensor>>;
  readonly pictures: readonly Picture[];
  /** What T2I-Adapters give the U-Net at each evaluation. */
  readonly featuresAt: FeaturesAt;
  /** The U-Net with the ControlNets of every picture; null = each runs by itself. */
  readonly joint: Run | null;
  readonly start: GenerationState;
  /** [C, h, w] of the latents. */
  readonly latentDims: readonly [number, number, number];
  readonly warnings: readonly string[];
}

/** The images of a request as tensors. */
export interface Images extends ControlImages {
  /** null = from noise alone. */
  readonly source: Source | null;
}

/**
 * What is done once: prompts, hints and images through their encoders, and the first latents.
 * @param controlnets in the order of request.controls
 * @param chosen the request's T2I-Adapters; the others are in the model already (adapters/adapt.ts)
 */
export async function prepare(
  request: GenerationRequest,
  adapted: LoadedModel | Adapted,
  controlnets: readonly LoadedControlNet[],
  images: Images,
  { adapters, embeddings }: Pick<Chosen, "adapters" | "embeddings"> = NOTHING,
): Promise<Plan> {
  const rows = guidanceRows(request, adapted);
  const cells = [request.height / CELL, request.width / CELL] as const;
  const model =
    "unetFor" in adapted ? { ...adapted, run: { ...adapted.run, ...(await adapted.unetFor(rows, cells)) } } : adapted;
  const own = [...("unetFor" in adapted ? adapted.warnings : []), ...unusedEmbeddings(embeddings, request)];
  const { conditions, warnings: textWarnings } = await readConditions(model, request, rows);
  const latentDims = [model.vae.latent_channels, ...cells] as const;
  const strength = request.strength ?? 1;
  const { config, warnings } = requestConfig(model.scheduler, request, model.text.length);
  const { scheduler, num_inference_steps, eta } = request;
  const sampler = createSampler(scheduler, config, num_inference_steps, { strength, eta });
  const total = sampler.total;
  const controls = await prepareControls(request, controlnets, images, { height: latentDims[1], total });
  const { source } = images;
  const shown = source !== null && shownBeside(model) === "image" ? await readShownImage(source, model, rows) : null;

  const pictures: Picture[] = [];
  const states: PictureState[] = [];
  for (const [i, own] of controls.entries()) {
    const noise = new NoiseGenerator((request.seed % 2 ** 32) + i);
    const draw = (count: number) => noise.normal(count);
    const { latents, keep, extra } =
      source === null || shown !== null
        ? beginFromNoise(sampler, latentDims, draw, shown)
        : await begin(source, model, sampler, latentDims, strength, draw);
    checkFinite("the VAE's encoder", [latents, ...(extra ?? [])]);
    pictures.push({ controls: own, keep, extra });
    states.push({ sampler: sampler.start(latents), noise: noise.position });
  }
  const featuresAt = await prepareFeatures(model.unet, adapters, total);
  const start = { step: 0, pictures: states };
  return {
    request,
    model,
    unet: "unetFor" in adapted ? adapted.unetName : "the U-Net",
    sampler,
    conditions,
    pictures,
    featuresAt,
    joint: jointRun(request, model, controls[0]!, total),
    start,
    latentDims,
    warnings: [...textWarnings, ...warnings, ...own, ...assumedFor(model, request)],
  };
}

function beginFromNoise(
  sampler: Sampler,
  dims: readonly number[],
  draw: (count: number) => Float32Array,
  extra: Beginning["extra"],
): Beginning {
  const noise = draw(dims.reduce((product, dim) => product * dim, 1));
  return { latents: noise.map((value) => value * sampler.initNoiseSigma), keep: null, extra };
}

/** The sum of every ControlNet that is open at this step, or what is kept of it. */
async function control(
  { request, model, sampler }: Plan,
  controls: readonly Control[],
  inputs: StepInputs,
  step: number,
  kept: Kept["controlled"],
): Promise<NonNullable<Kept["controlled"]>> {
  const open = controls.map((one) => openHints(one, step, sampler.total));
  if (kept !== null && !isControlled(request, step) && JSON.stringify(kept.open) === JSON.stringify(open)) return kept;
  let residuals: Residuals = noResiduals(model.unet, residualsNeeded(request, step));
  for (const [i, hints] of open.entries()) {
    if (hints.length > 0) residuals = await addResiduals(residuals, controls[i]!, hints, inputs);
  }
  return { open, residuals };
}

/** The U-Net, or between two whole evaluations its outer part, on what is kept of the last. */
async function denoise(
  { request, model }: Plan,
  inputs: Readonly<Record<string, Tensor>>,
  residuals: Residuals,
  step: number,
  kept: Tensor | null,
): Promise<{ out: Tensor; deep: Tensor | null }> {
  if (request.cache === null || request.cache.interval === 1) {
    return { out: (await model.run.unet({ ...inputs, ...residuals })).out!, deep: null };
  }
  const { branch } = request.cache;
  const { whole, shallow } = model.run.split(branch);
  if (isWhole(request, step)) {
    const { out, deep } = await whole({ ...inputs, ...residuals });
    return { out: out!, deep: deep! };
  }
  const outer = Object.fromEntries(Object.entries(residuals).slice(0, branch + 1));
  return { out: (await shallow({ ...inputs, ...outer, deep: kept! })).out!, deep: kept };
}

/** noise_pred [C, h, w] of one picture at the state's step: every open ControlNet, then the locked U-Net on their sum. */
async function predict(
  plan: Plan,
  { controls, extra }: Picture,
  state: SamplerState,
  before: Kept,
): Promise<{ output: Float32Array; kept: Kept }> {
  const { request, model, sampler, conditions, latentDims } = plan;
  const rows = conditions.encoder_hidden_states!.dims[0]!;
  const latents = sampler.input(state);
  const inputs = {
    ...conditions,
    sample: { dims: [1, ...latentDims], data: latents },
    timestep: fill([1], sampler.timesteps[state.step]!),
  };
  const [, ...cells] = latentDims;
  const told = {
    ...inputs,
    ...plan.featuresAt(state.step),
    ...(extra !== null && { sample: withExtra(latents, extra, [model.unet.in_channels, ...cells]) }),
    ...(model.unet.time_cond_proj_dim !== null && {
      timestep_cond: repeatRow(
        [model.unet.time_cond_proj_dim],
        guidanceEmbedding(request.guidance_scale, model.unet.time_cond_proj_dim),
        rows,
      ),
    }),
  };
  const network = { name: plan.unet, unet: model.unet };
  const when = ` at step ${state.step + 1} of ${sampler.total}`;
  const controlNow = () => control(plan, controls, inputs, state.step, before.controlled);
  if (plan.joint !== null) {
    const feeds = jointFeeds(controls, inputs, state.step, sampler.total);
    const { out } = await plan.joint({ ...told, ...noResiduals(model.unet), ...feeds });
    await checkStep(network, out!, async () => ({ controls, inputs, ...(await controlNow()) }), when);
    return { output: guide(out!, request), kept: NOTHING_KEPT };
  }
  const controlled = await controlNow();
  const { out, deep } = await denoise(plan, told, controlled.residuals, state.step, before.deep);
  await checkStep(network, out, async () => ({ controls, inputs, ...controlled }), when);
  const kept = { deep, controlled: request.control_interval > 1 ? controlled : null };
  return { output: guide(out, request), kept };
}

/**
 * One evaluation for every picture.
 * @param see is shown the latents [1, C, h, w] that the first picture is on its way to, for a preview
 */
export async function step(
  plan: Plan,
  state: GenerationState,
  see?: (denoised: Tensor) => Promise<void>,
): Promise<GenerationState> {
  const pictures: PictureState[] = [];
  // One picture after the other: a picture's bytes must not depend on what it is computed beside.
  for (const [i, picture] of plan.pictures.entries()) {
    const before = state.pictures[i]!;
    const { output, kept } = await predict(plan, picture, before.sampler, before.kept ?? NOTHING_KEPT);
    if (i === 0) {
      await see?.({ dims: [1, ...plan.latentDims], data: plan.sampler.denoised(before.sampler, output) });
    }
    const noise = new NoiseGenerator(before.noise);
    const after = plan.sampler.next(before.sampler, output, (count) => noise.normal(count));
    const latents =
      picture.keep === null ? after.latents : blend(picture.keep, after.latents, plan.sampler, after.step);
    checkFinite("the sampler, or guidance,", [latents], ` at step ${state.step + 1} of ${plan.sampler.total}`);
    pictures.push({ sampler: { ...after, latents }, noise: noise.position, kept });
  }
  return { step: state.step + 1, pictures };
}

/** Latent cells of a tile's side: 512 pixels, the size that SD's VAE was trained at. */
const TILE_CELLS = 64;

/** Latent cells that the VAE decodes at once, 1024² pixels: some GB of activations. A larger picture is decoded in tiles. */
const MOST_CELLS_AT_ONCE = 128 * 128;

/** A picture's latents [C, h, w] → its image [3, H, W], about -1 … 1. */
export async function decodeLatents(
  model: LoadedModel,
  latents: Float32Array,
  dims: readonly [number, number, number],
): Promise<Float32Array> {
  const data = toVae(model, latents);
  const [, height, width] = dims;
  if (height * width > MOST_CELLS_AT_ONCE) {
    return (await decodeTiled(model.run.vae_decoder, { dims, data }, TILE_CELLS, CELL)).data as Float32Array;
  }
  const { image } = await model.run.vae_decoder({ latents: { dims: [1, ...dims], data } });
  return image!.data as Float32Array;
}

/** A picture's image, [3, H, W], by the decoder that the request names. */
export async function decodePicture(plan: Plan, state: PictureState): Promise<Float32Array> {
  const image = await decoded(plan, state);
  checkFinite("the VAE's decoder", [image]);
  return image;
}

async function decoded({ model, latentDims, request }: Plan, { sampler }: PictureState): Promise<Float32Array> {
  if (request.decoder === "full") return decodeLatents(model, sampler.latents, latentDims);
  if (model.run.tiny_decoder === null) throw new Error("decoder tiny: the model has no tiny autoencoder");
  const { image } = await model.run.tiny_decoder({ latents: { dims: [1, ...latentDims], data: sampler.latents } });
  return image!.data as Float32Array;
}
