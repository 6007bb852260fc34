/** Objects that refuse unknown keys and name the nearest known one. */
import { closest } from "fastest-levenshtein";
import { z } from "zod";

z.config({
  customError: (issue) => (issue.code === "invalid_type" && issue.input === undefined ? "is required" : undefined),
});

/** An object that refuses unknown keys and names the nearest known one. */
export function closed<Shape extends z.ZodRawShape>(shape: Shape) {
  return z.strictObject(shape, {
    error: (issue) =>
      issue.code === "unrecognized_keys"
        ? `${issue.keys
            .slice(0, MOST_NAMED)
            .map((key) => unknownField(key, shape))
            .join("; ")}${more(issue.keys)}`
        : undefined,
  });
}

/** A body can have millions of unknown fields: to say of each what is near would take the gateway's time and memory. */
const MOST_NAMED = 10;
/** Of a name that nobody knows, so many characters. */
export const MOST_SHOWN = 100;
const more = ({ length }: readonly string[]) => (length > MOST_NAMED ? `; and ${length - MOST_NAMED} more` : "");

function unknownField(key: string, shape: z.ZodRawShape): string {
  const known =
    Object.keys(shape).length === 0 ? "none is known here" : `the nearest known one is "${nearest(key, shape)}"`;
  return `unknown field "${key.slice(0, MOST_SHOWN)}", ${known}`;
}

/** The known key with the least edit distance, of those that hold the unknown one or are held by it when there are such. */
function nearest(key: string, shape: z.ZodRawShape): string {
  const unknown = key.slice(0, MOST_SHOWN); // the distance costs its length times that of each known key
  const known = Object.keys(shape);
  const kin = unknown.length > 3 ? known.filter((name) => name.includes(unknown) || unknown.includes(name)) : [];
  return closest(unknown, kin.length > 0 ? kin : known);
}
