/** Objects that refuse unknown keys and say what was probably meant. */
import { z } from "zod";
import { type Meant, meantByItself } from "./field-names.ts";

z.config({
  customError: ({ code, input }) =>
    (code === "invalid_type" || code === "invalid_union") && (input === undefined || input === null)
      ? "is required"
      : undefined,
});

/**
 * An object that refuses unknown keys and says what was probably meant: a line of the message for each, in their order.
 * @param meant by a key that there is not
 */
export function closed<Shape extends z.ZodRawShape>(shape: Shape, meant: Meant = meantByItself) {
  return z.strictObject(shape, {
    error: (issue) => {
      if (issue.code !== "unrecognized_keys") return undefined;
      const keys = issue.keys as readonly string[];
      const known = Object.keys(shape);
      return [...keys.slice(0, MOST_NAMED).map((key) => unknownField(key, known, meant)), ...more(keys)].join("\n");
    },
  });
}

/** A body can have millions of unknown fields: to say of each what is near would take the gateway's time and memory. */
const MOST_NAMED = 50;
/** Of a name that nobody knows, so many characters. */
export const MOST_SHOWN = 100;
const more = ({ length }: readonly string[]) =>
  length > MOST_NAMED ? [`and ${length - MOST_NAMED} more unknown fields`] : [];

function unknownField(key: string, known: readonly string[], meant: Meant): string {
  const shown = key.slice(0, MOST_SHOWN).replace(/\s/g, " "); // what is like it costs its length times that of each known key
  const hint = known.length === 0 ? "none is known here" : meant(shown, known);
  return `unknown field "${shown}"${hint === null ? "" : `, ${hint}`}`;
}
