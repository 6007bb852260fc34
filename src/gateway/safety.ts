/** What an installation's, or a key's, SAFETY_CHECKER means for a model: to those who list the models, and to those who ask for pictures. */
import type { SafetyMode } from "../config/api-keys.ts";
import type { Catalog, Model } from "../schema/catalog.ts";
import { unprocessable } from "./unprocessable.ts";

/** What a model's entry says, by whether it has a safety checker. */
const SAID = {
  there: { off: ["safety_checker is not run"], flag: [], blank: [] },
  none: {
    off: [],
    flag: ["it has no safety checker: its pictures are not checked"],
    blank: ["it has no safety checker: generations are refused, for with this API key pictures must be checked"],
  },
} satisfies Record<string, Record<SafetyMode, readonly string[]>>;

/** A worker's entry as a client with this mode sees it. */
export function withSafety(model: Model, mode: SafetyMode): Model {
  const isThere = model.safety_checker === "off";
  const warnings = [...model.warnings, ...SAID[isThere ? "there" : "none"][mode]];
  return { ...model, safety_checker: isThere ? mode : "none", warnings };
}

/** @throws {Refused} where pictures must be checked and the model has nothing to do it with */
export function requireChecked({ models }: Pick<Catalog, "models">, id: string, mode: SafetyMode): void {
  const isThere = models.some((model) => model.id === id && model.safety_checker === "off");
  if (mode !== "blank" || isThere) return;
  const message = `"${id}" has no safety checker, and with this API key pictures must be checked (SAFETY_CHECKER=blank): put a safety_checker folder beside its parts, or into MODELS_DIR for all that have none`;
  throw unprocessable("field_does_not_fit", "model", message);
}

/** A trainer runs no safety checker. @throws {Refused} where pictures must be checked and a training would make some */
export function refuseUnchecked(makesPictures: boolean, mode: SafetyMode): void {
  if (!makesPictures || mode !== "blank") return;
  const message =
    "a training's pictures are not checked, and with this API key pictures must be (SAFETY_CHECKER=blank)";
  throw unprocessable("field_does_not_fit", "validation", message);
}
