/** Modules of the ControlNet extension, its preprocessors, by all the names that they have had. */
import { isNone } from "./names.ts";
import { refuse } from "./refuse.ts";
import type { Unit } from "./unit.ts";

/** @throws {Refused} for a module that is not there */
export function annotatorOf({ module }: Pick<Unit, "module">, at: string): undefined {
  if (isNone(module)) return undefined;
  throw refuse(
    `${at}.module`,
    `there is no module ${JSON.stringify(module!.slice(0, 100))} here: send the map, with the module none`,
  );
}

/** `GET /controlnet/module_list`. */
export const MODULES: readonly string[] = ["none"];
