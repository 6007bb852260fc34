/** The scheduler config that a request runs with: the checkpoint's, as diffusers' pipeline mends it, with what the request overrides. */
import type { GenerationRequest } from "../schema/generation-request.ts";
import { ownScheduler } from "./own-scheduler.ts";
import { type RawConfig, readSchedulerConfig } from "./scheduler-config.ts";
import { rowOf } from "./scheduler-table.ts";

/** What of a request decides over it. */
type Deciding = Pick<
  GenerationRequest,
  | "scheduler"
  | "timestep_spacing"
  | "prediction_type"
  | "rescale_betas_zero_snr"
  | "mask_image"
  | "image_guidance_scale"
> & { readonly controls: readonly unknown[] };

const OVERRIDES = ["timestep_spacing", "prediction_type", "rescale_betas_zero_snr"] as const;

/**
 * What StableDiffusionPipeline, …Img2ImgPipeline and …InpaintPipeline write into a config from before these keys (`__init__`
 * of huggingface/diffusers, src/diffusers/pipelines/stable_diffusion). Inpainting leaves clip_sample as it is; the pipelines
 * with ControlNets, SDXL's, and instruct-pix2pix (which alone has an image_guidance_scale) leave all of it.
 */
function mended(raw: RawConfig, request: Deciding): { changes: Record<string, unknown>; warnings: string[] } {
  const changes: Record<string, unknown> = {};
  const own = ownClass(raw);
  if (own === null) return { changes, warnings: [] };
  const config = readSchedulerConfig(own, raw);
  const knows = (key: "steps_offset" | "clip_sample") => own.keys.includes(key) || key in raw;
  if (knows("steps_offset") && (own.keys.includes("steps_offset") ? config.steps_offset : raw.steps_offset) !== 1) {
    changes.steps_offset = 1;
  }
  const clips = own.keys.includes("clip_sample") ? config.clip_sample : raw.clip_sample === true;
  if (knows("clip_sample") && clips && request.mask_image === null) changes.clip_sample = false;
  // Another class reads what the file says: a key that the file has not is not handed on (ConfigMixin.extract_init_dict).
  const kept = Object.entries(changes).filter(
    ([key]) => key in raw || rowOf(request.scheduler).algorithm.scheduler === own,
  );
  return {
    changes: Object.fromEntries(kept),
    warnings: kept.map(
      ([key, value]) =>
        `scheduler_config.json is outdated: ${key} is taken for ${value}, as diffusers' StableDiffusionPipeline does`,
    ),
  };
}

/** The class that a config is written for, null where it is none of those carried out. */
function ownClass(raw: RawConfig) {
  try {
    return rowOf(ownScheduler(raw)).algorithm.scheduler;
  } catch {
    return null;
  }
}

/**
 * scheduler_config.json for a request.
 * @param towers text encoders of the model: SDXL's pipelines, which have two, mend nothing
 */
export function requestConfig(
  raw: RawConfig,
  request: Deciding,
  towers: number,
): { config: RawConfig; warnings: string[] } {
  const overrides = Object.fromEntries(
    OVERRIDES.flatMap((key) => (request[key] === null ? [] : [[key, request[key]]])),
  );
  const isLeft = towers > 1 || request.controls.length > 0 || request.image_guidance_scale !== null;
  const { changes, warnings } = isLeft ? { changes: {}, warnings: [] } : mended(raw, request);
  return { config: { ...raw, ...changes, ...overrides }, warnings };
}
