/** What a client of OpenAI's images says, as a generation. Our own fields may stand beside theirs. */
import { z } from "zod";
import { Refused } from "../../../errors.ts";
import { closed } from "../../../schema/closed.ts";
import { meantInGeneration } from "../../../schema/field-names.ts";
import { MAX_IMAGES } from "../../../schema/fields.ts";
import { GenerationInput } from "../../../schema/generation-request.ts";
import { detailOf, fieldErrors } from "../issues.ts";

/** Steps of each `quality`; where ours is absent or "auto", the default. */
const STEPS = { low: 10, medium: 20, standard: 20, high: 30, hd: 30, xhigh: 40, max: 50 } as const;

/** A field that cannot be honored: absent or null. */
const never = (reason: string) => z.null({ error: reason }).optional();

const openAiShape = {
  n: z.int().min(1).max(MAX_IMAGES).nullish(),
  size: z
    .string()
    .regex(/^(auto|\d{1,5}x\d{1,5})$/, 'must be "auto", or a width and a height such as "512x768"')
    .nullish(),
  quality: z.enum(["auto", ...(Object.keys(STEPS) as (keyof typeof STEPS)[])]).nullish(),
  response_format: z.enum(["url", "b64_json"]).nullish(),
  response: z.literal("url", "response_format says how pictures come here").default("url"),
  stream: z.boolean().nullish(),
  partial_images: z.int().min(0).max(3).nullish(),
  background: z.enum(["auto", "opaque"], 'pictures are opaque here: must be "auto" or "opaque"').nullish(),
  /** What this installation does of the kind it does for every request. */
  moderation: z.enum(["auto", "low"]).nullish(),
  user: z.string().max(512).nullish(),
  safety_identifier: z.string().max(512).nullish(),
  style: never("there is no such choice here: say it in the prompt"),
  output_compression: never("how much a picture is compressed cannot be chosen here"),
  input_fidelity: z.literal("low", 'must be "low": strength says how far to go from the image').nullish(),
};

export const GenerateBody = closed({ ...GenerationInput.shape, ...openAiShape }, meantInGeneration(""));
export type GenerateBody = z.infer<typeof GenerateBody>;

const Source = z.string();
/** `image` and `mask` are checked when they are taken. */
export const EditBody = closed({
  ...GenerationInput.shape,
  ...openAiShape,
  image: z.union([Source, z.array(Source).length(1)], {
    error: ({ input }) => (input === undefined ? undefined : "must be one image: further ones may be control images"),
  }),
  mask: Source.nullish(),
  mask_image: never("send OpenAI's mask instead: what is transparent in it is painted anew"),
});
export type EditBody = z.infer<typeof EditBody>;

/** How the answer is wanted. */
export interface Wanted {
  readonly format: "url" | "b64_json" | null;
  readonly stream: boolean;
  readonly partialImages: number;
}

/** @throws {Refused} where two fields say different things */
export function readBody(body: GenerateBody): { input: GenerationInput; wanted: Wanted } {
  const { n, size, quality, response_format, stream, partial_images, user, safety_identifier, ...rest } = body;
  const { background: _1, moderation: _2, style: _3, output_compression: _4, input_fidelity: _5, ...own } = rest;
  const chosen = {
    ...(n != null && { num_images: agreed("n", n, "num_images", own.num_images, 1) }),
    ...(quality != null && quality !== "auto" && { num_inference_steps: stepsOf(quality, own.num_inference_steps) }),
    ...sizeOf(size, own),
  };
  const partialImages = stream === true ? (partial_images ?? 0) : 0;
  if (partial_images != null && partial_images > 0 && stream !== true) {
    throw invalid("partial_images", "are sent in a stream: it needs stream: true");
  }
  const who = { ...(user != null && { user }), ...(safety_identifier != null && { safety_identifier }) };
  const input = checked({
    ...own,
    ...chosen,
    preview: own.preview || partialImages > 0,
    metadata: { ...who, ...own.metadata },
  });
  return { input, wanted: { format: response_format ?? null, stream: stream === true, partialImages } };
}

/** The request with what one field alone cannot tell. @throws {Refused} */
export function checked(input: unknown): GenerationInput {
  const { data, error } = GenerationInput.safeParse(input);
  if (error === undefined) return data;
  const errors = fieldErrors(error);
  throw new Refused(400, "invalid_request", detailOf(errors), errors);
}

function sizeOf(size: string | null | undefined, own: Pick<GenerationInput, "width" | "height">) {
  if (size == null || size === "auto") return {};
  const [width, height] = size.split("x").map(Number);
  if ((own.width ?? width) !== width || (own.height ?? height) !== height) {
    throw invalid("size", "width and height say another one");
  }
  return { width, height };
}

function stepsOf(quality: keyof typeof STEPS, own: number): number {
  return agreed("quality", STEPS[quality], "num_inference_steps", own, 20);
}

/** What their field says, unless ours says something else than its default. */
function agreed(theirs: string, value: number, ours: string, own: number, absent: number): number {
  if (own !== absent && own !== value) throw invalid(theirs, `${ours} says ${own}`);
  return value;
}

export function invalid(path: string, message: string): Refused {
  return new Refused(400, "invalid_request", `${path}: ${message}`, [{ path, message }]);
}
