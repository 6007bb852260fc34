/** What a schema finds wrong, as fields at fault: for bodies that a dialect translates before our own schema sees them. */
import type { z } from "zod";
import type { FieldError } from "../../errors.ts";
import { MOST_SHOWN } from "../../schema/closed.ts";

const dotted = (path: readonly PropertyKey[]) =>
  path
    .map((key) => (typeof key === "number" ? `[${key}]` : `.${String(key)}`))
    .join("")
    .replace(/^\./, "");

/** An unknown key is a field of its own, with its line of the message. */
export function fieldErrors({ issues }: z.ZodError): FieldError[] {
  return issues.flatMap((issue) => {
    if (issue.code !== "unrecognized_keys") return [{ path: dotted(issue.path), message: issue.message }];
    return issue.message
      .split("\n")
      .map((message, i) => ({ path: dotted([...issue.path, (issue.keys[i] ?? "").slice(0, MOST_SHOWN)]), message }));
  });
}

export const detailOf = (errors: readonly FieldError[]) =>
  errors.map(({ path, message }) => `${path}: ${message}`).join("; ");
