import type { GenerationRequest } from "../schema/generation-request.ts";
import { classOf, type RawConfig, readOwn } from "./scheduler-config.ts";

/** What of a request decides over it. */
type Deciding = Pick<GenerationRequest, "scheduler" | "mask_image"> & { readonly controls: readonly unknown[] };

/**
 * scheduler_config.json as diffusers' pipeline for the request mends it: StableDiffusionPipeline, …Img2ImgPipeline and
 * …InpaintPipeline set steps_offset to 1 and clip_sample to false in a config from before these keys (`__init__`, in
 * huggingface/diffusers src/diffusers/pipelines/stable_diffusion). Inpainting leaves clip_sample as it is; the pipelines with
 * ControlNets, and SDXL's, leave all of it.
 * @param towers text encoders of the model: SDXL's pipelines have two
 */
export function mendedConfig(
  raw: RawConfig,
  request: Deciding,
  towers: number,
): { config: RawConfig; warnings: string[] } {
  const own = towers > 1 || request.controls.length > 0 ? null : readOwn(raw);
  if (own === null) return { config: raw, warnings: [] };
  const said = (key: "steps_offset" | "clip_sample") => (own.keys.includes(key) ? own.config[key] : raw[key]);
  const changes: [string, unknown][] = [];
  if (![1, undefined].includes(said("steps_offset") as number)) changes.push(["steps_offset", 1]);
  if (said("clip_sample") === true && request.mask_image === null) changes.push(["clip_sample", false]);
  // Another class reads what the file says: a key that the file has not is not handed on (ConfigMixin.extract_init_dict).
  const kept = changes.filter(([key]) => key in raw || classOf(request.scheduler) === own.className);
  return {
    config: { ...raw, ...Object.fromEntries(kept) },
    warnings: kept.map(
      ([key, value]) =>
        `scheduler_config.json is outdated: ${key} is taken for ${value}, as diffusers' StableDiffusionPipeline does`,
    ),
  };
}
