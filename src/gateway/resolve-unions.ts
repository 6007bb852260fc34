/** What entries of `controls` must say for a ControlNet-Union, and may not for another. */
import type { Catalog } from "../schema/catalog.ts";
import type { GenerationInput } from "../schema/generation-request.ts";
import { unprocessable } from "./unprocessable.ts";

type Control = GenerationInput["controls"][number];

/** What the entries of one Union share, because they are one evaluation. */
const SHARED = ["control_mode", "mask", "layer_scales"] as const;

/** The number of a control's type; null for a ControlNet that has none. @throws {Refused} naming `control_type` */
function typeOf({ controlnet, control_type }: Control, types: readonly string[][], path: string): number | null {
  const said = control_type ?? null;
  if (types.length === 0) {
    if (said === null) return null;
    const message = `is for a ControlNet-Union; "${controlnet}" is a ControlNet for one kind of hint`;
    throw unprocessable("field_does_not_fit", path, message);
  }
  const number = typeof said === "string" ? types.findIndex((names) => names.includes(said.toLowerCase())) : said;
  if (number !== null && number in types) return number;
  const known = types.map((names, i) => [i, ...names].join(" ")).join(", ");
  const message =
    said === null
      ? `is required: "${controlnet}" is a ControlNet-Union, and has to be told what the image is; its types: ${known}`
      : `"${controlnet}" has no type ${JSON.stringify(said)}; its types: ${known}`;
  throw unprocessable(said === null ? "field_missing" : "field_does_not_fit", path, message);
}

/** The type of each control, by its number. @throws {Refused} */
export function controlTypesOf(controls: readonly Control[], { controlnets }: Catalog): (number | null)[] {
  return controls.map((control, i) => {
    const types = controlnets.find(({ id }) => id === control.controlnet)?.control_types ?? [];
    const number = typeOf(control, types, `controls[${i}].control_type`);
    const first = number === null ? -1 : controls.findIndex(({ controlnet }) => controlnet === control.controlnet);
    const apart = SHARED.find((field) => first >= 0 && `${controls[first]![field]}` !== `${control[field]}`);
    if (apart === undefined) return number;
    const message = `must be the same as in controls[${first}]: entries of one ControlNet-Union are one evaluation`;
    throw unprocessable("field_does_not_fit", `controls[${i}].${apart}`, message);
  });
}
