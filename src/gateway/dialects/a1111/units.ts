/** Units of the ControlNet extension as entries of `controls`. */
import type { Catalog } from "../../../schema/catalog.ts";
import type { GenerationInput } from "../../../schema/generation-request.ts";
import { fieldErrors } from "../issues.ts";
import { asSource } from "./image-source.ts";
import { annotatorOf } from "./modules.ts";
import { idCalled, isNone } from "./names.ts";
import { refuseA1111 } from "./refuse.ts";
import { controlModeOf, isOn, pictureOf, refuseIdle, resizeModeOf, Unit, unionTypeOf } from "./unit.ts";

type Control = GenerationInput["controls"][number];

/** A control, and whether its map is wanted beside the pictures. */
export interface ReadUnit {
  readonly control: Control;
  readonly showsMap: boolean;
}

interface Scripts {
  alwayson_scripts?: Record<string, unknown> | null | undefined;
  controlnet_units?: unknown[] | null | undefined;
}

/** The units of a request, from each place where they may be. @throws {Refused} for another script that is to do something */
export function unitsOf({ alwayson_scripts, controlnet_units }: Scripts): unknown[] {
  const units = [...(controlnet_units ?? [])];
  for (const [name, script] of Object.entries(alwayson_scripts ?? {})) {
    const args = Array.isArray(script) ? script : ((script as { args?: unknown } | null)?.args ?? []);
    const list = Array.isArray(args) ? args : typeof args === "object" ? Object.values(args as object) : [args];
    if (name.toLowerCase() === "controlnet") units.push(...list);
    else if (list.length > 0)
      throw refuseA1111(`alwayson_scripts.${name}`, "this script is not there here; ControlNet is");
  }
  return units;
}

/** @param initial of image-to-image: what a unit without an image of its own reads */
export function readUnits(units: readonly unknown[], catalog: Catalog, initial: string | undefined): ReadUnit[] {
  return units.flatMap((said, index) => {
    const at = `alwayson_scripts.controlnet.args[${index}]`;
    const { data: unit, error } = Unit.safeParse(said);
    if (unit === undefined) {
      const { path, message } = fieldErrors(error)[0]!;
      throw refuseA1111(path === "" ? at : `${at}.${path}`, message);
    }
    return isOn(unit) ? [readUnit(unit, catalog, initial, at)] : [];
  });
}

function readUnit(unit: Unit, catalog: Catalog, initial: string | undefined, at: string): ReadUnit {
  refuseIdle(unit, at);
  const annotator = annotatorOf(unit, `${at}.module`);
  const { image: own, mask } = pictureOf(unit);
  // What is inpainted is the image and the mask of image-to-image: the unit brings none.
  const image = annotator?.name === "inpaint" ? own : (own ?? initial);
  if (image === undefined && annotator?.name !== "inpaint") throw refuseA1111(`${at}.image`, "the unit has no image");
  if (mask !== undefined) {
    throw refuseA1111(
      `${at}.mask`,
      "is for modules that inpaint; where the unit acts is said by effective_region_mask",
    );
  }
  const control_mode = controlModeOf(unit, at);
  const control = {
    controlnet: controlNetOf(unit, catalog, at),
    control_type: unionTypeOf(unit, at),
    ...(image !== undefined && { image: asSource(image) }),
    annotator: annotator ?? null,
    pose: null,
    mask: unit.effective_region_mask ? asSource(unit.effective_region_mask) : undefined,
    conditioning_scale: unit.weight ?? 1,
    control_guidance_start: unit.guidance_start ?? 0,
    control_guidance_end: unit.guidance_end ?? unit.guidance ?? 1,
    resize_mode: resizeModeOf(unit, at),
    ...weighting(unit, control_mode, at),
  };
  return { control: control as Control, showsMap: unit.save_detected_map !== false };
}

/** Weights of each layer stand in the place of the mode's. */
function weighting({ advanced_weighting: weights }: Unit, mode: Control["control_mode"], at: string) {
  if (weights == null || weights.length === 0) return { control_mode: mode, layer_scales: null };
  if (mode === "control") {
    const message = "with weights of each layer, ControlNet is more important is not there here";
    throw refuseA1111(`${at}.advanced_weighting`, message);
  }
  return { control_mode: "balanced" as const, layer_scales: weights };
}

/** What else the extension takes as a unit's model, and where it is here. */
const OTHER_SHELVES = [
  { shelf: "adapters", what: "a T2I-Adapter" },
  { shelf: "ip_adapters", what: "an IP-Adapter" },
] as const;

function controlNetOf({ model }: Unit, catalog: Catalog, at: string): string {
  if (isNone(model)) throw refuseA1111(`${at}.model`, "the unit has no model");
  const id = idCalled(catalog.controlnets, model!);
  const known = catalog.controlnets.some((one) => one.id === id);
  const other = OTHER_SHELVES.find(({ shelf }) =>
    catalog[shelf].some((one) => one.id === idCalled(catalog[shelf], model!)),
  );
  if (!known && other !== undefined) {
    throw refuseA1111(
      `${at}.model`,
      `${model} is ${other.what}: it is not a unit here, but ${other.shelf} of POST /v1/generations`,
    );
  }
  return id;
}
