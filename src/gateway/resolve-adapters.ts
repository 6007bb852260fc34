/** Whether what a request adds to a model is offered here, and fits it. */
import type { Refused } from "../errors.ts";
import type { Catalog, Model } from "../schema/catalog.ts";
import type { GenerationInput } from "../schema/generation-request.ts";
import { scaleMisfit } from "../schema/ip-scale.ts";
import { doesNotFit, suggestion, unprocessable } from "./unprocessable.ts";

/** Of each shelf, the field of an entry that names the id, and what it is called. */
const SHELVES = {
  loras: { field: "lora", what: "LoRA" },
  embeddings: { field: "embedding", what: "textual inversion" },
  ip_adapters: { field: "ip_adapter", what: "IP-Adapter" },
  adapters: { field: "adapter", what: "T2I-Adapter" },
} as const;
type AdapterShelf = keyof typeof SHELVES;

function refusal(shelf: AdapterShelf, id: string, model: Model, catalog: Catalog, path: string): Refused | null {
  const { field, what } = SHELVES[shelf];
  const offered: { id: string; models: string[]; misfits: Record<string, string> }[] = catalog[shelf];
  const fitting = offered.filter(({ models }) => models.includes(model.id));
  const found = offered.find((one) => one.id === id);
  if (found === undefined) {
    const skipped = catalog.skipped.find((one) => one.shelf === shelf && one.id === id);
    return skipped === undefined
      ? unprocessable(`unknown_${field}`, path, `there is no ${what} "${id}"${suggestion(id, fitting)}`)
      : unprocessable("unavailable", path, `"${id}" cannot be served: ${skipped.reason}`);
  }
  if (fitting.includes(found)) return null;
  return doesNotFit(field, what, found, { model: model.id, fitting, path });
}

/** @throws {Refused} naming the field of the first that is not offered or does not fit */
export function checkAdapters(input: GenerationInput, model: Model, catalog: Catalog, size: readonly number[]): void {
  for (const [shelf, { field }] of Object.entries(SHELVES) as [AdapterShelf, (typeof SHELVES)[AdapterShelf]][]) {
    for (const [index, entry] of input[shelf].entries()) {
      const id = (entry as Record<string, unknown>)[field] as string;
      const refused = refusal(shelf, id, model, catalog, `${shelf}[${index}].${field}`);
      if (refused !== null) throw refused;
    }
  }
  const tokens = input.embeddings.map(
    ({ embedding, token }) => token ?? catalog.embeddings.find(({ id }) => id === embedding)!.token,
  );
  const twice = tokens.findIndex((token, i) => tokens.indexOf(token) < i);
  if (twice >= 0) {
    const message = `"${tokens[twice]}" is the token of embeddings[${tokens.indexOf(tokens[twice]!)}] too: give one of them another`;
    throw unprocessable("field_does_not_fit", `embeddings[${twice}].token`, message);
  }
  for (const [index, { scale }] of input.ip_adapters.entries()) {
    const misfit = scaleMisfit(scale, model.attention_blocks);
    if (misfit === null) continue;
    const message = `of "${model.id}": ${misfit.message}`;
    throw unprocessable("field_does_not_fit", `ip_adapters[${index}].scale${misfit.path}`, message);
  }
  for (const [index, { adapter }] of input.adapters.entries()) {
    const multiple = catalog.adapters.find(({ id }) => id === adapter)!.size_multiple;
    if (size.some((side) => side % multiple !== 0)) {
      const message = `the T2I-Adapter "${adapter}" needs a width and a height that are multiples of ${multiple}, not ${size.join("×")}`;
      throw unprocessable("field_does_not_fit", `adapters[${index}].adapter`, message);
    }
  }
}
