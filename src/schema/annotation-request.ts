/** What `POST /v1/annotations` takes, and the request as it is carried out. */
import { z } from "zod";
import { ALL_ANNOTATORS, type AnnotatorChoice, KeptAnnotator, SentAnnotator } from "./annotator-choice.ts";
import type { AnnotatorInput } from "./annotators.ts";
import { closed } from "./closed.ts";
import { metadata, priority } from "./fields.ts";
import { type ImageForms, KEPT, SENT } from "./images.ts";
import { withoutNulls } from "./nulls.ts";
import { PoseJson } from "./pose.ts";
import { Webhook } from "./webhook.ts";

const annotationShape = {
  pose: PoseJson.nullable().default(null).describe("Key points, for openpose_render; null = none."),
  webhook: Webhook.nullable().default(null).describe("Who is told how it goes; null = nobody."),
  priority,
  metadata,
};

const annotationImages = <O extends z.ZodType, L extends z.ZodType, M extends z.ZodType>(
  form: ImageForms<O, L, M>,
) => ({
  image: form.optional.describe("The picture that the map is made of. What is transparent shows white."),
  mask_image: form.optional.describe("For inpaint: white where the picture is to be painted anew."),
});

/** What an annotator of each kind of input needs, of the fields that could bring it. */
const NEEDS = {
  picture: ["image"],
  depth: ["image"],
  masked_picture: ["image", "mask_image"],
  pose: ["pose"],
} satisfies Record<AnnotatorInput, readonly string[]>;
const SOURCES = ["image", "mask_image", "pose"] as const;

interface CrossChecked {
  annotator: AnnotatorChoice;
  params?: Record<string, unknown> | null;
  image?: unknown;
  mask_image?: unknown;
  pose: unknown;
}

/** What one field alone cannot tell. */
function crossChecks(ctx: z.core.ParsePayload<CrossChecked>) {
  const refuse = (path: PropertyKey[], message: string) =>
    ctx.issues.push({ code: "custom", input: ctx.value, path, message });
  const { annotator, params } = ctx.value;
  const { input, params: known } = ALL_ANNOTATORS[annotator.name]!;
  const needed: readonly string[] = NEEDS[input];
  for (const field of SOURCES) {
    const given = (ctx.value[field] ?? null) !== null;
    if (needed.includes(field) && !given) refuse([field], `is required by the annotator "${annotator.name}"`);
    if (!needed.includes(field) && given) {
      refuse([field], `is not read by the annotator "${annotator.name}", which takes ${needed.join(" and ")}`);
    }
  }
  const { error } = known.safeParse({ ...annotator.params, ...(withoutNulls(known, params ?? {}) as object) });
  for (const { path, message } of error?.issues ?? []) refuse(["params", ...path], message);
}

/** The body of `POST /v1/annotations`. */
export const AnnotationInput = closed({
  annotator: SentAnnotator,
  params: z
    .record(z.string(), z.unknown())
    .nullable()
    .default(null)
    .describe("The annotator's parameters, when `annotator` is its name alone."),
  ...annotationImages(SENT),
  ...annotationShape,
})
  .check(crossChecks)
  .meta({
    id: "CreateAnnotation",
    description:
      "What to make a map of, and how. Names and defaults of parameters are controlnet_aux's. An image is as in the request of a generation.",
  });
export type AnnotationInput = z.infer<typeof AnnotationInput>;

/** An annotation's request as it is carried out. */
export const AnnotationRequest = closed({
  annotator: KeptAnnotator,
  ...annotationImages(KEPT),
  ...annotationShape,
}).meta({
  id: "AnnotationRequest",
  description: "The request as carried out: every default filled in, images by hash.",
});
export type AnnotationRequest = z.infer<typeof AnnotationRequest>;
