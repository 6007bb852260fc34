/** What is told of a request that fits the schema and cannot be carried out here. */
import { closest } from "fastest-levenshtein";
import { Refused } from "../errors.ts";

export function unprocessable(code: string, path: string, message: string): Refused {
  return new Refused(422, code, message, [{ path, message }]);
}

export function suggestion(id: string, known: { id: string }[]): string {
  if (known.length === 0) return "; none is offered here";
  const ids = known.map((one) => one.id);
  return `; the nearest of those offered (${names(known)}) is "${closest(id, ids)}"`;
}

export function names(known: { id: string }[]): string {
  return known.length === 0 ? "none" : known.map(({ id }) => id).join(", ");
}
