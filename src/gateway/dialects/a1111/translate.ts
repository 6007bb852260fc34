/** What a client of the web UI asks for, as a generation. */

import type { z } from "zod";
import { Refused } from "../../../errors.ts";
import { MAX_ADAPTERS } from "../../../schema/adapters.ts";
import type { Catalog, Model } from "../../../schema/catalog.ts";
import { GenerationInput } from "../../../schema/generation-request.ts";
import { SCHEDULER_FACTS, type SchedulerName } from "../../../schema/schedulers.ts";
import { detailOf, fieldErrors } from "../issues.ts";
import { type Body, type ImageBody, WITH_MASK } from "./body.ts";
import { asSource } from "./image-source.ts";
import { idCalled, shortName } from "./names.ts";
import { type Options, readOverrides } from "./options.ts";
import { readPrompt, refuseUnread, writtenIn } from "./prompt.ts";
import { refuseA1111 } from "./refuse.ts";
import { schedulerOf } from "./samplers.ts";
import { readUnits, unitsOf } from "./units.ts";

/** Steps when the request does not say, as in the web UI's API. */
const STEPS = 50;
const DENOISING = 0.75;

export interface Translated {
  readonly input: GenerationInput;
  /** Of each control, whether its map is wanted beside the pictures. */
  readonly showsMap: readonly boolean[];
}

/** @param inverted the negative of a mask @throws {Refused} naming what cannot be carried out */
export async function translate(
  body: Body & Partial<ImageBody>,
  options: Options,
  catalog: Catalog,
  inverted: (mask: string) => Promise<string>,
): Promise<Translated> {
  const overrides = readOverrides(body, options, catalog);
  const model = catalog.models.find(({ id }) => id === overrides.sd_model_checkpoint);
  const written = readPrompt(body.prompt ?? "");
  const negative = body.negative_prompt ?? "";
  refuseUnread("negative_prompt", negative);
  const units = readUnits(unitsOf(body), catalog, body.init_images?.[0]);
  const input = {
    model: overrides.sd_model_checkpoint,
    prompt: written.prompt,
    negative_prompt: negative,
    prompt_syntax: "weighted",
    long_prompt: "chunk",
    clip_skip: overrides.CLIP_stop_at_last_layers > 1 ? overrides.CLIP_stop_at_last_layers - 1 : null,
    num_inference_steps: body.steps ?? STEPS,
    guidance_scale: guidanceOf(body),
    width: body.width ?? undefined,
    height: body.height ?? undefined,
    num_images: (body.batch_size ?? 1) * (body.n_iter ?? 1),
    seed: body.seed == null || body.seed < 0 ? undefined : body.seed,
    ...sampling(body, model),
    loras: written.loras.map(({ name, scale }) => ({ lora: idCalled(catalog.loras, name), scale })),
    embeddings: inversions([written.prompt, negative], catalog, model),
    controls: units.map(({ control }) => control),
    preview: true,
    ...(await beginning(body, model, inverted)),
    metadata: body.force_task_id == null ? {} : { force_task_id: body.force_task_id },
  };
  const { data, error } = GenerationInput.safeParse(input);
  if (error !== undefined) throw inTheirWords(error);
  return { input: data, showsMap: units.map(({ showsMap }) => showsMap) };
}

/** What a sampler that draws noise is when `eta` is 0, and it draws none. */
const WITHOUT_NOISE: Partial<Record<SchedulerName, SchedulerName>> = {
  euler_ancestral: "euler",
  dpm2_ancestral: "dpm2",
};

/** The scheduler, and `eta` where it has a meaning. */
function sampling(body: Body, model: Model | undefined): { scheduler?: SchedulerName; eta?: number } {
  const said = [body.sampler_name, body.sampler_index].find((name) => name != null && name !== "");
  const isOffered = (name: string) => model?.schedulers.some(({ id }) => id === name) ?? true;
  if (said == null && body.scheduler == null && !isOffered("euler")) return {};
  const scheduler = schedulerOf(said ?? "Euler", body.scheduler);
  const { fields, stochastic } = SCHEDULER_FACTS[scheduler];
  if (fields.includes("eta")) return { scheduler, eta: body.eta ?? 0 };
  const plain = body.eta === 0 ? WITHOUT_NOISE[scheduler] : undefined;
  if (plain !== undefined) return { scheduler: plain };
  for (const field of ["eta", "s_noise"] as const)
    if (stochastic && body[field] != null && body[field] !== 1)
      throw refuseA1111(field, `of ${said ?? "Euler"} must be 1 here: less fresh noise is not there`);
  return { scheduler }; // of the others, eta and s_noise do nothing in the web UI either
}

/** Below 1 the web UI goes on towards the negative prompt; here guidance is off then. */
function guidanceOf({ cfg_scale }: Body): number {
  if (cfg_scale != null && cfg_scale < 1) throw refuseA1111("cfg_scale", "must be 1 or more here");
  return cfg_scale ?? 7;
}

/** The image to begin with, and where to paint. */
async function beginning(
  body: Partial<ImageBody>,
  model: Model | undefined,
  inverted: (mask: string) => Promise<string>,
) {
  const [image] = body.init_images ?? [];
  if (image === undefined) return {};
  if (body.resize_mode != null && body.resize_mode !== 0) {
    throw refuseA1111("resize_mode", "the image is stretched to the picture's size here: must be 0");
  }
  if (model?.instruct_pix2pix) {
    if (body.denoising_strength !== 1) {
      const reason = `of "${model.id}", which edits an image by instructions and begins with noise, must be 1 here`;
      throw refuseA1111("denoising_strength", reason);
    }
    return { image: asSource(image), image_guidance_scale: body.image_cfg_scale ?? null };
  }
  const from = { image: asSource(image), strength: body.denoising_strength ?? DENOISING };
  if (body.mask == null || body.mask === "") return from;
  for (const { field, allowed, reason } of WITH_MASK) {
    const value = body[field];
    if (value != null && !(allowed as readonly unknown[]).includes(value)) throw refuseA1111(field, reason);
  }
  const mask = asSource(body.mask);
  return { ...from, mask_image: body.inpainting_mask_invert ? await inverted(mask) : mask };
}

/** The textual inversions whose names are written in the prompts. */
function inversions(prompts: readonly string[], catalog: Catalog, model: Model | undefined) {
  const fitting = catalog.embeddings.filter(({ models }) => model === undefined || models.includes(model.id));
  const written = fitting.filter(({ id }) => writtenIn(prompts, [shortName(id)]).length > 0);
  if (written.length > MAX_ADAPTERS) throw refuseA1111("prompt", `names more than ${MAX_ADAPTERS} textual inversions`);
  return written.map(({ id }) => ({ embedding: id, token: shortName(id) }));
}

/** What the fields that errors name are called by clients of the web UI. */
const THEIR_NAMES: Readonly<Record<string, string>> = {
  num_inference_steps: "steps",
  guidance_scale: "cfg_scale",
  num_images: "batch_size × n_iter",
  strength: "denoising_strength",
  image_guidance_scale: "image_cfg_scale",
  image: "init_images",
  mask_image: "mask",
  clip_skip: "CLIP_stop_at_last_layers",
  conditioning_scale: "weight",
  control_guidance_start: "guidance_start",
  control_guidance_end: "guidance_end",
  layer_scales: "advanced_weighting",
  controls: "alwayson_scripts.controlnet.args",
  control_type: "union_control_type",
  mask: "effective_region_mask",
};
const WORDS = /\b(control_guidance_start|control_guidance_end|num_inference_steps)\b/g;

/** A message that names other fields, by the web UI's names. */
export const inTheirNames = (message: string) => message.replace(WORDS, (word) => THEIR_NAMES[word]!);

/** What routes that make no pictures call the fields of what they are made into. */
const OF_ROUTES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "/controlnet/detect": {
    image: "controlnet_input_images",
    mask_image: "controlnet_masks",
    annotator: "controlnet_module",
  },
  "/sdapi/v1/png-info": {},
};

/** The fields of a request by the web UI's names. One that has such a name already keeps it. @param route which one, where it makes no pictures */
export function theirName(path: string, route = ""): string {
  if (path.startsWith(THEIR_NAMES.controls!)) return path;
  if (/^(loras|embeddings)\b/.test(path)) return "prompt"; // they are written there
  const { mask: _, ...ofRequest } = THEIR_NAMES;
  const ofUnit = { ...THEIR_NAMES, image: "image", controlnet: "model", annotator: "module" };
  const names = OF_ROUTES[route] ?? (path.startsWith("controls") ? ofUnit : ofRequest);
  return path.replace(/[a-z_]+/g, (word) => (names as Record<string, string>)[word] ?? word);
}

function inTheirWords(error: z.ZodError): Refused {
  const errors = fieldErrors(error).map(({ path, message }) => ({
    path: theirName(path),
    message: inTheirNames(message),
  }));
  return new Refused(422, "unsupported", detailOf(errors), errors);
}
