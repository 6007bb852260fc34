/** What `POST /v1/generations` takes, and the request as it is carried out. */

import { z } from "zod";
import { adapterFields } from "./adapters.ts";
import { type AnnotatorChoice, KeptAnnotator, SentAnnotator } from "./annotator-choice.ts";
import { closed } from "./closed.ts";
import { controlImages, controlMaking, controlShape, makingConflict } from "./control.ts";
import { KeptControlType, SentControlType } from "./control-type.ts";
import { meantInGeneration } from "./field-names.ts";
import {
  Id,
  MAX_CONTROLS,
  MAX_IMAGE_PIXELS,
  MAX_IMAGES,
  MAX_PROMPT,
  MAX_SIDE,
  MAX_STEPS,
  metadata,
  priority,
  Side,
  seed,
} from "./fields.ts";
import { type ImageForms, KEPT, SENT } from "./images.ts";
import { samplingShape } from "./sampling.ts";
import { SchedulerName } from "./scheduler-names.ts";
import { evaluationsOf } from "./schedulers.ts";
import { speedShape } from "./speed.ts";
import { Webhook } from "./webhook.ts";

export const PromptSyntax = z.enum(["plain", "weighted"]);
export type PromptSyntax = z.infer<typeof PromptSyntax>;
export const LongPrompt = z.enum(["truncate", "chunk"]);
export type LongPrompt = z.infer<typeof LongPrompt>;

/** Content type of each output format. */
export const CONTENT_TYPES = { png: "image/png", webp: "image/webp", jpeg: "image/jpeg" } as const;
export const OutputFormat = z.enum(["png", "webp", "jpeg"]);
export type OutputFormat = z.infer<typeof OutputFormat>;

/** What pictures may say of themselves: the request that makes them and that they are made; that alone; nothing. */
export const PROVENANCES = ["full", "mark", "off"] as const;

const sizeOfSdxl = z
  .tuple([z.int().min(0).max(MAX_SIDE), z.int().min(0).max(MAX_SIDE)])
  .nullable()
  .default(null);

/** How far image-to-image and inpainting go from the image, when the request does not say. */
export const DEFAULT_STRENGTH = 0.8;
const strength = z.number().gt(0).max(1);

const CONTROLS = "ControlNets and their control images; what they add to the U-Net is summed.";

const generationShape = {
  prompt: z
    .string()
    .max(MAX_PROMPT)
    .describe("What the picture shows; may be empty.")
    .meta({ examples: ["a house by a lake, autumn"] }),
  negative_prompt: z
    .string()
    .max(MAX_PROMPT)
    .nullable()
    .default(null)
    .describe("What guidance leads away from; null = as diffusers does without one.")
    .meta({ examples: ["blurry, low quality"] }),
  prompt_syntax: PromptSyntax.default("plain").describe(
    "plain: every character is text. weighted: as AUTOMATIC1111's web UI reads emphasis: (word) 1.1, (word:1.3) 1.3, [word] 1/1.1, nested ones multiplied, \\( \\) \\[ \\] \\\\ the characters themselves, BREAK begins a new chunk. Each token's embedding is multiplied by its weight, then the chunk is scaled to the mean it had; the pooled text of SDXL is not weighted. Its prompt editing ([a:b:0.5], [a|b]) and AND are read as text.",
  ),
  long_prompt: LongPrompt.default("truncate").describe(
    "What becomes of a prompt (or of a section between two BREAKs) of more than 75 tokens. truncate: cut off, with a warning. chunk: encoded 75 tokens at a time and joined; a chunk ends at a comma when one of its last 20 tokens is one, and before a textual inversion that it has no room for. A shorter prompt of the two is filled up with empty chunks.",
  ),
  clip_skip: z
    .int()
    .min(0)
    .nullable()
    .default(null)
    .describe(
      "The prompt's text is read this many layers earlier than usual, at most the model's max_clip_skip; 1 = last but one layer (SDXL: last but two). As in diffusers, the negative prompt's is not.",
    )
    .meta({ examples: [1] }),
  num_inference_steps: z
    .int()
    .min(1)
    .max(MAX_STEPS)
    .default(20)
    .describe("Steps from noise to picture: more take longer.")
    .meta({ examples: [20] }),
  guidance_scale: z
    .number()
    .min(0)
    .max(100)
    .default(7.5)
    .describe("How strongly the prompt leads; 1 or less = no classifier-free guidance.")
    .meta({ examples: [7.5] }),
  ...samplingShape,
  ...speedShape,
  num_images: z
    .int()
    .min(1)
    .max(MAX_IMAGES)
    .default(1)
    .describe("How many pictures; picture i is made with seed + i.")
    .meta({ examples: [1] }),
  guess_mode: z
    .boolean()
    .default(false)
    .describe("ControlNets on the conditional half only, scales 0.1 to 1, evenly spaced in the logarithm."),
  cfg_resolution_weighting: z
    .boolean()
    .default(false)
    .describe("ControlNets on the conditional half only, residual i times 64 / its height (arXiv 2302.05543, 3.4)."),
  original_size: sizeOfSdxl.describe(
    "[height, width] of the photo that the picture should look taken from; null = its own. SDXL only.",
  ),
  crops_coords_top_left: sizeOfSdxl.describe(
    "[top, left] of the crop that it should look like; null = [0, 0]. SDXL only.",
  ),
  target_size: sizeOfSdxl.describe("[height, width]; null = its own. SDXL only."),
  output_format: OutputFormat.default("png").describe("What the pictures are encoded as; webp and jpeg lose a little."),
  response: z
    .enum(["url", "base64"])
    .default("url")
    .describe(
      "base64: the pictures' bytes are in images[] too, of GET and of the answer that waited; events, lists and webhooks have addresses alone.",
    ),
  preview: z.boolean().default(false).describe("Whether progress events show what the first picture is on its way to."),
  webhook: Webhook.nullable().default(null).describe("Who is told how it goes; null = nobody."),
  priority,
  metadata,
};

interface CrossChecked {
  seed?: number | undefined;
  num_images: number;
  num_inference_steps: number;
  controls: Control[];
  image?: unknown;
  mask_image?: unknown;
  strength?: number | null | undefined;
}

interface Control {
  image?: unknown;
  annotator: AnnotatorChoice | null;
  pose: unknown;
  control_guidance_start: number;
  control_guidance_end: number;
}

/** What one field alone cannot tell. */
function crossChecks(ctx: z.core.ParsePayload<CrossChecked>) {
  const { image, mask_image: mask, strength, num_inference_steps: steps, seed, num_images } = ctx.value;
  const refuse = (field: string, message: string, within: (string | number)[] = []) =>
    ctx.issues.push({ code: "custom", input: ctx.value, path: [...within, field], message });
  const most = Number.MAX_SAFE_INTEGER - (num_images - 1);
  if (seed !== undefined && seed > most && Number.isSafeInteger(seed)) {
    refuse("seed", `must be at most ${most}: picture i is made with seed + i`);
  }
  if (!image && mask) {
    refuse("mask_image", "needs an image to be painted in");
  }
  if (!image && typeof strength === "number") {
    refuse("strength", "is for image-to-image: it needs an image");
  }
  if (typeof strength === "number" && Math.trunc(steps * strength) < 1) {
    refuse("strength", `of ${steps} steps leaves no step to run`);
  }
  for (const [index, control] of ctx.value.controls.entries()) {
    const path = ["controls", index];
    if (control.control_guidance_start >= control.control_guidance_end) {
      refuse("control_guidance_start", "must be less than control_guidance_end", path);
    }
    const conflict = makingConflict(control, Boolean(image && mask));
    if (conflict !== null) refuse(conflict[0], conflict[1], path);
    if (Array.isArray(control.image) && control.image.length !== ctx.value.num_images) {
      refuse("image", `a list of images must have num_images (${ctx.value.num_images}) entries`, path);
    }
  }
}

/** The images of a request beside those of its controls: a new one is a line here. */
const generationImages = <O extends z.ZodType, L extends z.ZodType, M extends z.ZodType>(
  form: ImageForms<O, L, M>,
) => ({
  image: form.optional.describe(
    "Start from this image, stretched to the picture's size; transparency is dropped, and the colors under it count.",
  ),
  mask_image: form.optional.describe(
    "Inpainting: paint anew where this is white, keep the image where it is black; its alpha does not count.",
  ),
});

/** The body of `POST /v1/generations`. */
export const GenerationInput = closed(
  {
    model: Id.optional()
      .describe("Id of a base model, from GET /v1/models; may be absent when there is only one.")
      .meta({ examples: ["sd15"] }),
    ...generationShape,
    width: Side.optional().describe("Pixels; absent = the model's native size."),
    height: Side.optional().describe("Pixels; absent = the model's native size."),
    scheduler: SchedulerName.optional().describe("Absent = the checkpoint's own."),
    seed: seed.optional().describe("Absent = random, and returned."),
    controls: z
      .array(
        closed(
          { ...controlShape, ...controlImages(SENT), ...controlMaking(SentAnnotator), control_type: SentControlType },
          meantInGeneration("controls[]."),
        ),
      )
      .max(MAX_CONTROLS)
      .default([])
      .describe(CONTROLS),
    ...adapterFields(SENT),
    ...generationImages(SENT),
    strength: strength
      .optional()
      .describe(`How far to go from the image: the share of the steps that is run. Absent = ${DEFAULT_STRENGTH}.`)
      .meta({ examples: [0.6] }),
  },
  meantInGeneration(""),
)
  .check(crossChecks)
  .meta({
    id: "CreateGeneration",
    description: `What to generate. An image is a PNG, JPEG, WebP or GIF (its first frame), told by its content, of at most ${MAX_IMAGE_PIXELS} pixels, 65535 a side, and all of them together four times as many: as a data: URI with base64 data, as an https: address, or as \`upload:<id>\` (POST /v1/uploads). Addresses are fetched before the request is accepted, so that what is accepted no longer depends on them: within 15 s for all of them, through at most 4 redirects, from public hosts on port 443 or 8443, or from those that the installation allows. An image that cannot be had refuses the request (422) and names its field.`,
  });
export type GenerationInput = z.infer<typeof GenerationInput>;

/** A request as it is carried out: every default filled in, images by hash. What the worker gets and the API echoes. */
export const GenerationRequest = closed({
  model: Id.describe("Id of the base model."),
  ...generationShape,
  width: Side,
  height: Side,
  scheduler: SchedulerName.describe("The sampler."),
  seed,
  controls: z
    .array(
      closed({
        ...controlShape,
        ...controlImages(KEPT),
        ...controlMaking(KeptAnnotator),
        control_type: KeptControlType,
      }),
    )
    .max(MAX_CONTROLS)
    .describe(CONTROLS),
  ...adapterFields(KEPT),
  ...generationImages(KEPT),
  strength: strength
    .nullable()
    .describe("The share of the steps that is run; null = from noise alone.")
    .meta({ examples: [0.6] }),
})
  .check(crossChecks)
  .meta({
    id: "GenerationRequest",
    description: "The request as carried out: every default filled in, images by hash.",
  });
export type GenerationRequest = z.infer<typeof GenerationRequest>;

/** How many evaluations a request takes; image-to-image leaves out the first of its steps. */
export const evaluations = ({ scheduler, num_inference_steps, strength }: GenerationRequest) =>
  evaluationsOf(scheduler, Math.trunc(num_inference_steps * (strength ?? 1)));

/** How much work it is beside others: pixels of a picture, times pictures, times evaluations. */
export const generationCost = (request: GenerationRequest): number =>
  evaluations(request) * request.num_images * request.width * request.height;
