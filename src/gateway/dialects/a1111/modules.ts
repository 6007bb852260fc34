/** Modules of the ControlNet extension as annotators. */
import type { Catalog } from "../../../schema/catalog.ts";
import { mapKindOf } from "../../../schema/map-kinds.ts";
import { isNetworkAnnotator } from "../../../schema/network-annotators.ts";
import { A1111_CONTROL_TYPES, MODULES, type ModuleRow, type Slider } from "./module-table.ts";
import { isNone } from "./names.ts";
import { refuseA1111 } from "./refuse.ts";

const RESOLUTION = { name: "Resolution", min: 64, max: 2048, value: 512, step: 8 };

/** What a module's sliders are set to; what is beyond its range is as if it were absent, as in the extension. */
export interface Settings {
  module?: string | null | undefined;
  processor_res?: number | null | undefined;
  threshold_a?: number | null | undefined;
  threshold_b?: number | null | undefined;
  /** The map is made at the image's own size. */
  pixel_perfect?: boolean | null | undefined;
}

const BY_NAME = new Map(
  Object.entries(MODULES).flatMap(([name, row]) => [name, ...(row.others ?? [])].map((one) => [one, row] as const)),
);

const set = (slider: Pick<Slider, "min" | "max" | "value">, said: number | null | undefined): number =>
  said == null || said < slider.min || said > slider.max ? slider.value : said;

/** @returns the annotator with the parameters that the module's sliders say; undefined = none @throws {Refused} for a module that is not there */
export function annotatorOf({ module, pixel_perfect, ...said }: Settings, field: string) {
  if (isNone(module)) return undefined;
  const row = BY_NAME.get(module!.trim().toLowerCase());
  if (row === undefined) {
    const shown = JSON.stringify(module!.slice(0, 100));
    throw refuseA1111(
      field,
      `Module not available: there is no module ${shown} here; there are ${[...BY_NAME.keys()].join(", ")}`,
    );
  }
  const { annotator, params, sized, a, b } = row;
  return {
    name: annotator,
    params: {
      ...params,
      ...(sized && !pixel_perfect && { resolution: Math.round(set(RESOLUTION, said.processor_res)) }),
      ...(a && { [a.param]: set(a, said.threshold_a) }),
      ...(b && { [b.param]: set(b, said.threshold_b) }),
    },
  };
}

/** Those that can be used here, by the names that are asked for. */
function offered({ annotators }: Catalog, aliases: boolean): [name: string, row: ModuleRow][] {
  const isThere = ({ annotator }: ModuleRow) =>
    !isNetworkAnnotator(annotator) || annotators.some(({ id, networks }) => id === annotator && networks.length > 0);
  return Object.entries(MODULES)
    .filter(([, row]) => isThere(row))
    .map(([name, row]) => [(aliases ? row.others?.[0] : undefined) ?? name, row]);
}

const shown = ({ name, value, min, max, step }: Omit<Slider, "param">) => ({ name, value, min, max, step });

/** The extension's list ends with its last slider; one that is not there before it is null. */
function slidersOf({ sized, a, b }: ModuleRow) {
  const sliders = [sized && RESOLUTION, a, b].map((slider) => (slider ? shown(slider) : null));
  return sliders.slice(0, sliders.findLastIndex((slider) => slider !== null) + 1);
}

/** `GET /controlnet/module_list`. */
export function moduleList(catalog: Catalog, aliases: boolean) {
  const modules = offered(catalog, aliases);
  return {
    module_list: modules.map(([name]) => name),
    module_detail: Object.fromEntries(
      modules.map(([name, row]) => [name, { model_free: false, sliders: slidersOf(row) }]),
    ),
  };
}

/** `GET /controlnet/control_types`. */
export function controlTypes(catalog: Catalog) {
  const modules = offered(catalog, true);
  const typeOf = (names: string[], models: string[]) => ({
    module_list: ["none", ...names.filter((name) => name !== "none")],
    model_list: ["None", ...models],
    default_option: names.find((name) => name !== "none") ?? "none",
    default_model: models[0] ?? "None",
  });
  const ids = catalog.controlnets.map(({ id }) => id);
  const all = {
    ...typeOf(
      modules.map(([name]) => name),
      ids,
    ),
    default_option: "none",
    default_model: "None",
  };
  const types = Object.entries(A1111_CONTROL_TYPES).map(([type, kind]) => {
    const names = modules.filter(([, { feeds }]) => feeds.includes(kind)).map(([name]) => name);
    return [
      type,
      typeOf(
        names,
        ids.filter((id) => mapKindOf(id) === kind),
      ),
    ];
  });
  return { control_types: { All: all, ...Object.fromEntries(types) } };
}
