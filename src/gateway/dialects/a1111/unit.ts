/** A unit of the ControlNet extension (`alwayson_scripts.controlnet.args[]`), with all the names that its fields have had. */
import { z } from "zod";
import { closed } from "../../../schema/closed.ts";
import { isNone } from "./names.ts";
import { refuseA1111 } from "./refuse.ts";

const number = z.number().nullish();
const flag = z.boolean().nullish();
const anything = z.unknown().optional();
const Picture = z.union([
  z.string(),
  z.array(z.string()).min(1).max(2),
  closed({ image: z.string(), mask: z.string().nullish() }),
  z.array(closed({ image: z.string(), mask: z.string().nullish() })).length(1, "must be one image"),
]);

const isOff = (value: unknown) =>
  value == null || value === false || value === "" || (Array.isArray(value) && value.length === 0);
const absent = (reason: string) => z.custom<unknown>(isOff, { error: reason }).optional();

export const Unit = closed({
  enabled: flag,
  module: z.string().nullish(),
  model: z.string().nullish(),
  weight: number,
  image: Picture.nullish(),
  input_image: Picture.nullish(),
  mask: z.string().nullish(),
  mask_image: z.string().nullish(),
  resize_mode: z.union([z.string(), z.int()]).nullish(),
  processor_res: number,
  threshold_a: number,
  threshold_b: number,
  pixel_perfect: flag,
  guidance: number,
  guidance_start: number,
  guidance_end: number,
  control_mode: z.union([z.string(), z.int()]).nullish(),
  guessmode: flag,
  guess_mode: flag,
  save_detected_map: flag,
  advanced_weighting: z.array(z.number()).nullish(),
  effective_region_mask: z.string().nullish(),
  hr_option: z.union([z.string(), z.int()]).nullish(),
  input_mode: z.string().nullish(),
  union_control_type: z.union([z.string(), z.int()]).nullish(),
  low_vram: anything, // how memory is used is not the client's to say here
  lowvram: anything,
  inpaint_crop_input_image: anything, // with inpaint_full_res alone, which is refused
  pulid_mode: anything, // of PuLID's modules, which are refused
  ipadapter_input: absent("send the image"),
  batch_images: absent("a unit has one image here"),
  batch_image_dir: absent("folders of the server are not read"),
  batch_mask_dir: absent("folders of the server are not read"),
  batch_input_gallery: absent("a unit has one image here"),
  batch_mask_gallery: absent("a unit has one image here"),
  batch_image_files: absent("a unit has one image here"),
  batch_modifiers: absent("a unit has one image here"),
  batch_keyframe_idx: absent("a unit has one image here"),
  animatediff_batch: absent("a unit has one image here"),
  image_fg: absent("draw into the image"),
  mask_image_fg: absent("draw into the image"),
  output_dir: absent("no folder of the server is written to"),
  generated_image: absent("send it as the image, with the module none"),
  use_preview_as_input: absent("send the map as the image, with the module none"),
  is_ui: anything,
  loopback: absent("is not there here"),
  multi_inputs_gallery: absent("a unit has one image here"),
});
export type Unit = z.infer<typeof Unit>;

const RESIZE = {
  "just resize": "stretch",
  "just resize (stretch)": "stretch",
  "crop and resize": "crop",
  "scale to fit (inner fit)": "crop",
  "inner fit (scale to fit)": "crop",
  inner_fit: "crop",
  "resize and fill": "fill",
  "envelope (outer fit)": "fill",
  "outer fit (shrink to fit)": "fill",
  outer_fit: "fill",
} as const;
const RESIZE_NUMBERS = ["stretch", "crop", "fill"] as const;

const MODES = {
  balanced: "balanced",
  "my prompt is more important": "prompt",
  prompt: "prompt",
  "controlnet is more important": "control",
  control: "control",
} as const;
const MODE_NUMBERS = ["balanced", "prompt", "control"] as const;

/** One of a table's values, by its name in whatever letters or by its number. */
function chosen<T extends string>(
  field: string,
  said: string | number,
  names: Readonly<Record<string, T>>,
  numbers: readonly T[],
): T {
  const key = String(said).trim().toLowerCase();
  const found = typeof said === "number" || /^\d+$/.test(key) ? numbers[Number(key)] : names[key];
  if (found !== undefined) return found;
  throw refuseA1111(field, `there is no ${JSON.stringify(said)}; there are ${Object.keys(names).join(", ")}`);
}

export const resizeModeOf = ({ resize_mode }: Unit, at: string) =>
  chosen(`${at}.resize_mode`, resize_mode ?? 1, RESIZE, RESIZE_NUMBERS);

/** `guess_mode` and `guessmode` are what the mode was, before there were three. */
export function controlModeOf({ control_mode, guess_mode, guessmode }: Unit, at: string) {
  if (control_mode != null) return chosen(`${at}.control_mode`, control_mode, MODES, MODE_NUMBERS);
  return guess_mode || guessmode ? "control" : "balanced";
}

/** The unit's image and the mask beside it, wherever they are; the image is undefined when there is none. */
export function pictureOf({ image, input_image, mask, mask_image }: Unit): { image?: string; mask?: string } {
  const given = image ?? input_image;
  const beside = mask ?? mask_image;
  const [first, second] = Array.isArray(given) ? given : [given];
  const picture = typeof first === "object" && first !== null ? first.image : first;
  const drawn = typeof first === "object" && first !== null ? first.mask : second;
  const both = beside ?? (typeof drawn === "string" ? drawn : undefined);
  return {
    ...(picture != null && picture !== "" && { image: picture }),
    ...(both != null && both !== "" && { mask: both }),
  };
}

/** A unit that is on. One that is in the list without `enabled` is, unless it is as empty as those that clients fill lists up with. */
export function isOn(unit: Unit): boolean {
  const { enabled, module, model } = unit;
  if (enabled === false) return false;
  return enabled === true || !isNone(module) || !isNone(model) || pictureOf(unit).image !== undefined;
}

/** What has other values, and does something then. @param at the unit's path @throws {Refused} */
export function refuseIdle({ hr_option, input_mode }: Unit, at: string): void {
  if (/high/i.test(String(hr_option ?? "")) || hr_option === 2) {
    throw refuseA1111(`${at}.hr_option`, "there is no second pass here, so the unit would do nothing");
  }
  if (input_mode != null && !/^simple$/i.test(input_mode))
    throw refuseA1111(`${at}.input_mode`, "must be simple: a unit has one image here");
}

/** For a ControlNet-Union, the first of the type's names, such as that of "hed/pidi/scribble/ted". @throws {Refused} for a number */
export function unionTypeOf({ union_control_type: said }: Unit, at: string): string | null {
  if (said == null || /^(unknown|0)$/i.test(String(said))) return null;
  if (typeof said === "number")
    throw refuseA1111(`${at}.union_control_type`, "must be the name of a type, such as openpose");
  return said.split("/", 1)[0]!.trim();
}
