/** What is told of a request that fits the schema and cannot be carried out here. */
import { closest } from "fastest-levenshtein";
import { Refused } from "../errors.ts";
import type { Catalog, Unavailable } from "../schema/catalog.ts";

export function unprocessable(code: string, path: string, message: string): Refused {
  return new Refused(422, code, message, [{ path, message }]);
}

/** @throws {Refused} with the reason, when there is such a thing in MODELS_DIR that cannot be served */
export function refuseUnavailable(
  shelf: Unavailable["shelf"],
  id: string,
  { skipped }: Pick<Catalog, "skipped">,
  path: string,
): void {
  const found = skipped.find((one) => one.shelf === shelf && one.id === id);
  if (found !== undefined) throw unprocessable("unavailable", path, `"${id}" cannot be served: ${found.reason}`);
}

export function suggestion(id: string, known: { id: string }[]): string {
  if (known.length === 0) return "; none is offered here";
  const ids = known.map((one) => one.id);
  return `; the nearest of those offered (${names(known)}) is "${closest(id, ids)}"`;
}

/** What is offered and does not fit the model. @param field that names it; @param what it is called */
export function doesNotFit(
  field: string,
  what: string,
  { id, misfits }: { id: string; misfits: Record<string, string> },
  { model, fitting, path }: { model: string; fitting: { id: string }[]; path: string },
): Refused {
  const message = `the ${what} "${id}" does not fit the model "${model}": ${misfits[model] ?? ""}; those that do: ${names(fitting)}`;
  return unprocessable(`${field}_does_not_fit`, path, message);
}

export function names(known: { id: string }[]): string {
  return known.length === 0 ? "none" : known.map(({ id }) => id).join(", ");
}
