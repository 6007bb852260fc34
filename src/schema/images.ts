/**
 * How a request names an image, and the one traversal that finds all of them: a field made of the schemas below is fetched,
 * checked, stored and handed to the worker without any further code.
 */
import { z } from "zod";
import { MAX_IMAGES } from "./fields.ts";

const imageSource =
  'a data: URI with base64 data ("data:image/png;base64,…"), an https: address, or "upload:" and the id of an upload, or "sha256:" and the hash of an image that one of your jobs keeps';

/** How base64 of PNG, JPEG, GIF and WebP begins. */
const BARE_BASE64 = /^(iVBORw0KGgo|\/9j\/|R0lGOD|UklGR)/;

/** What is wrong with what should name an image. */
function notAnImage(input: unknown): string {
  if (typeof input !== "string") return `must be ${imageSource}`;
  if (BARE_BASE64.test(input)) return 'looks like base64 alone: "data:image/png;base64," belongs before it';
  if (/^data:/i.test(input)) return 'is a data: URI without base64: "data:image/png;base64,…" is read';
  return `must be ${imageSource}`;
}

const AN_IMAGE = "https://example.com/room.png";
const A_HASH = `sha256:${"0f".repeat(32)}`;

/** The schemas that stand for an image. What is derived from one (`describe`, `optional`) is found by its parent. */
const marked = z.registry<{ image: true }>();
const mark = <T extends z.ZodType>(schema: T): T => {
  marked.add(schema, { image: true });
  return schema;
};

/** An image in a request. The pattern looks at the head of a data: URI alone: one over 20 MB of base64 would be slow. */
export const ImageSource = mark(
  z.string().regex(/^(data:[^,]{0,200};base64,|https?:\/\/\S{1,4000}$|upload:\w{1,100}$|sha256:[0-9a-f]{64}$)/i, {
    error: ({ input }) => notAnImage(input),
  }),
).meta({ examples: [AN_IMAGE] });

/** An image in the echo of a request: what it hashes to, never its bytes. */
export const ImageHash = mark(z.string().regex(/^sha256:[0-9a-f]{64}$/)).meta({
  examples: [`sha256:${"0f".repeat(32)}`],
});

function oneOrList<T extends z.ZodType>(image: T, example: string) {
  const either = z
    .union([image, z.array(image).min(1).max(MAX_IMAGES)], {
      error: ({ input }) => {
        if (input === undefined || input === null) return undefined; // it is required
        if (typeof input === "string") return notAnImage(input);
        return `must be one image or a list of num_images images; an image is ${imageSource}`;
      },
    })
    .meta({ examples: [example] });
  return mark(either); // so that an absent one is found to be absent
}

/** How image fields are written: in a request as sent, and in one as kept, whose images are hashes and never absent. */
export const SENT = {
  one: ImageSource,
  oneOrList: oneOrList(ImageSource, AN_IMAGE),
  optional: ImageSource.optional(),
  optionalOneOrList: oneOrList(ImageSource, AN_IMAGE).optional(),
};
export const KEPT = {
  one: ImageHash,
  oneOrList: oneOrList(ImageHash, A_HASH),
  optional: ImageHash.nullable().meta({ examples: [A_HASH] }),
  optionalOneOrList: oneOrList(ImageHash, A_HASH)
    .nullable()
    .meta({ examples: [A_HASH] }),
};

/** The forms of an image field that a shape is made with: {@link SENT} or {@link KEPT}. */
export interface ImageForms<
  One extends z.ZodType,
  List extends z.ZodType,
  Optional extends z.ZodType,
  OptionalList extends z.ZodType = z.ZodType,
> {
  one: One;
  oneOrList: List;
  optional: Optional;
  optionalOneOrList: OptionalList;
}

/**
 * The value with each of its images replaced. An absent image becomes null, as in a request that is kept.
 * @param schema what the value has been validated by
 * @param replace gets what stands for an image, and the path of its field ("controls[0].mask")
 */
export function mapImages(
  schema: z.ZodType,
  value: unknown,
  replace: (image: string, path: string) => string,
  path = "",
): unknown {
  const def = schema._zod.def as z.core.$ZodTypeDef & { [part: string]: unknown };
  const into = (inner: unknown, part: unknown, at = path) => mapImages(inner as z.ZodType, part, replace, at);
  switch (def.type) {
    case "object": {
      const whole = value as Record<string, unknown>;
      const mapped: Record<string, unknown> = { ...whole };
      for (const [key, inner] of fieldsWithImages(schema)) {
        const made = into(inner, whole[key], path === "" ? key : `${path}.${key}`);
        if (made !== undefined) mapped[key] = made;
      }
      return mapped;
    }
    case "array":
      return (value as unknown[]).map((part, i) => into(def.element, part, `${path}[${i}]`));
    case "union": {
      const options = def.options as z.ZodType[];
      const fits = options.find((option) => (option._zod.def.type === "array") === Array.isArray(value));
      return into(fits ?? options[0], value);
    }
    case "optional":
    case "nullable":
    case "default":
      if (value !== undefined && value !== null) return into(def.innerType, value);
      return isImage(def.innerType as z.ZodType) ? null : value;
    default:
      return isImage(schema) && typeof value === "string" ? replace(value, path) : value;
  }
}

const isImage = (schema: z.ZodType) => marked.get(schema) !== undefined;

const known = new WeakMap<z.ZodType, readonly (readonly [key: string, schema: z.ZodType])[]>();

/** The few fields of an object in which there may be images. They are looked for once: to walk all of them costs as much as to validate them. */
function fieldsWithImages(schema: z.ZodType) {
  const { shape } = schema._zod.def as z.core.$ZodObjectDef<Record<string, z.ZodType>>;
  const fields = known.get(schema) ?? Object.entries(shape).filter(([, inner]) => mayHoldImages(inner));
  known.set(schema, fields);
  return fields;
}

function mayHoldImages(schema: z.ZodType): boolean {
  const def = schema._zod.def as z.core.$ZodTypeDef & { [part: string]: unknown };
  switch (def.type) {
    case "object":
      return fieldsWithImages(schema).length > 0;
    case "array":
      return mayHoldImages(def.element as z.ZodType);
    case "union":
      return isImage(schema) || (def.options as z.ZodType[]).some(mayHoldImages);
    case "optional":
    case "nullable":
    case "default":
      return mayHoldImages(def.innerType as z.ZodType);
    default:
      return isImage(schema);
  }
}

/** Every image of a value, by the path of its field. */
export function imagesOf(schema: z.ZodType, value: unknown): Map<string, string> {
  const found = new Map<string, string>();
  mapImages(schema, value, (image, path) => {
    found.set(path, image);
    return image;
  });
  return found;
}
