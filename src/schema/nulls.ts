/** Null is the same as absent: what clients in typed languages send for a field that nobody set, and what answers echo. */
import type { z } from "zod";

/**
 * A value without the nulls of its optional fields, so that their defaults apply. What may itself be null stays, and so do nulls in
 * `metadata` and where something is required. The value is copied where it changes.
 */
export function withoutNulls(schema: z.ZodType, value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  const def = schema._zod.def as z.core.$ZodTypeDef & { [part: string]: unknown };
  switch (def.type) {
    case "object":
      return Array.isArray(value) ? value : ofObject(def.shape as Record<string, z.ZodType>, value);
    case "array":
      return Array.isArray(value) ? value.map((part) => withoutNulls(def.element as z.ZodType, part)) : value;
    case "union": {
      const fits = optionsOf(schema).find((option) => mayBe(option, value));
      return fits === undefined ? value : withoutNulls(fits, value);
    }
    case "optional":
    case "nullable":
    case "default":
    case "prefault":
      return withoutNulls(def.innerType as z.ZodType, value);
    default:
      return value;
  }
}

/** The options of a union, and of the unions among them. */
function optionsOf(schema: z.ZodType): z.ZodType[] {
  const { type, options } = schema._zod.def as z.core.$ZodUnionDef;
  return type === "union" ? (options as z.ZodType[]).flatMap(optionsOf) : [schema];
}

/** Whether a list or an object may be one of an option; of several kinds of objects, it is what their fields of one value each say. */
function mayBe(option: z.ZodType, value: object): boolean {
  const { type, shape } = option._zod.def as z.core.$ZodObjectDef;
  if (type !== "object" || Array.isArray(value)) return (type as string) === "array" && Array.isArray(value);
  const told = Object.entries(shape).filter(([, part]) => part._zod.values !== undefined);
  return told.every(([key, part]) => part._zod.values!.has((value as Record<string, z.core.util.Primitive>)[key]));
}

function ofObject(shape: Readonly<Record<string, z.ZodType>>, value: object): object {
  const changed: Record<string, unknown> = { ...value };
  for (const [key, schema] of Object.entries(shape)) {
    if (!Object.hasOwn(changed, key)) continue;
    if (changed[key] === null && mayBeAbsent(schema)) delete changed[key];
    else changed[key] = withoutNulls(schema, changed[key]);
  }
  return changed;
}

/** Whether a field may be left out and has no meaning of its own for null. */
export function mayBeAbsent(schema: z.ZodType): boolean {
  return schema._zod.optin !== undefined && !schema.safeParse(null).success;
}
