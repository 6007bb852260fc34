/** What the web UI writes of a picture: into the file, and beside it in the answer. */
import type { GenerationRecord } from "../../../jobs/generation.ts";
import { samplerLabel, scheduleLabel } from "./samplers.ts";

const MODES = {
  balanced: "Balanced",
  prompt: "My prompt is more important",
  control: "ControlNet is more important",
} as const;
const RESIZE = { stretch: "Just Resize", crop: "Crop and Resize", fill: "Resize and Fill" } as const;

/** In the web UI's order, which its clients rely on. */
export function infotext({ request }: GenerationRecord, seed: number): string {
  const { scheduler, strength, clip_skip, loras, controls } = request;
  const units = controls.map((control, i) => [
    `ControlNet ${i}`,
    `"Module: ${control.annotator?.name ?? "none"}, Model: ${control.controlnet}, Weight: ${control.conditioning_scale}, Resize Mode: ${RESIZE[control.resize_mode]}, Guidance Start: ${control.control_guidance_start}, Guidance End: ${control.control_guidance_end}, Control Mode: ${MODES[control.control_mode]}"`,
  ]);
  const fields = [
    ["Steps", request.num_inference_steps],
    ["Sampler", samplerLabel(scheduler)],
    ["CFG scale", request.guidance_scale],
    ["Seed", seed],
    ["Size", `${request.width}x${request.height}`],
    ["Model hash", "none"],
    ["Model", request.model],
    ["Schedule type", scheduleLabel(scheduler)],
    ...(strength === null ? [] : [["Denoising strength", strength]]),
    ...(clip_skip === null ? [] : [["Clip skip", clip_skip + 1]]),
    ...(loras.length === 0 ? [] : [["Lora", `"${loras.map(({ lora, scale }) => `${lora}: ${scale}`).join(", ")}"`]]),
    ...units,
  ].map(([name, value]) => `${name}: ${value}`);
  const negative = request.negative_prompt ? `\nNegative prompt: ${request.negative_prompt}` : "";
  return `${request.prompt}${negative}\n${fields.join(", ")}`;
}

/** The fields of an infotext's last line. */
export function fieldsOf(text: string): Record<string, string> {
  const lines = text.split("\n");
  const last = lines.at(-1) ?? "";
  const found = [...last.matchAll(/([\w /]+):\s*("(?:\\.|[^"\\])*"|[^,]*)(?:,|$)/g)];
  const negative = lines.findIndex((line) => line.startsWith("Negative prompt:"));
  const end = negative < 0 ? lines.length - 1 : negative;
  return {
    ...(lines.length > 1 && { Prompt: lines.slice(0, end).join("\n") }),
    ...(negative >= 0 && {
      "Negative prompt": lines.slice(negative, -1).join("\n").slice("Negative prompt:".length).trim(),
    }),
    ...Object.fromEntries(found.map(([, name, value]) => [name!.trim(), value!.replace(/^"|"$/g, "")])),
  };
}

/** `info` of an answer, before it is made a text. */
export function infoOf(record: GenerationRecord) {
  const { request, images, warnings, created_at } = record;
  const all = <T>(value: T) => images.map(() => value);
  const infotexts = images.map(({ seed }) => infotext(record, seed));
  const { prompt, negative_prompt } = request;
  return {
    prompt,
    all_prompts: all(prompt),
    negative_prompt,
    all_negative_prompts: all(negative_prompt),
    seed: request.seed,
    all_seeds: images.map(({ seed }) => seed),
    subseed: -1,
    all_subseeds: all(-1),
    subseed_strength: 0,
    width: request.width,
    height: request.height,
    sampler_name: samplerLabel(request.scheduler),
    cfg_scale: request.guidance_scale,
    steps: request.num_inference_steps,
    batch_size: images.length,
    restore_faces: false,
    face_restoration_model: null,
    sd_model_name: request.model,
    sd_model_hash: null,
    sd_vae_name: null,
    sd_vae_hash: null,
    seed_resize_from_w: -1,
    seed_resize_from_h: -1,
    denoising_strength: request.strength,
    extra_generation_params: { "Schedule type": scheduleLabel(request.scheduler) },
    index_of_first_image: 0,
    infotexts,
    styles: [],
    job_timestamp: created_at.replace(/\D/g, "").slice(0, 14),
    clip_skip: (request.clip_skip ?? 0) + 1,
    is_using_inpainting_conditioning: false,
    version: "controlnet-service",
    generation_id: record.id,
    warnings,
  };
}
