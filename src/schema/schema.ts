/**
 * Every public request and response, every limit and every default, in one place: validation, TypeScript types and the
 * OpenAPI document are all made from the schemas below. Field names are those of diffusers, in snake_case.
 */
import { closest } from "fastest-levenshtein";
import { z } from "zod";

export const SCHEDULERS = [
  "ddim",
  "ddpm",
  "pndm",
  "euler",
  "euler_karras",
  "euler_ancestral",
  "heun",
  "dpmpp_2m",
  "dpmpp_2m_karras",
  "dpmpp_2m_sde_karras",
  "unipc",
  "lcm",
] as const;
export const SchedulerName = z.enum(SCHEDULERS);
export type SchedulerName = z.infer<typeof SchedulerName>;

export const PromptSyntax = z.enum(["plain", "weighted"]);
export type PromptSyntax = z.infer<typeof PromptSyntax>;
export const LongPrompt = z.enum(["truncate", "chunk"]);
export type LongPrompt = z.infer<typeof LongPrompt>;

/** Content type of each output format. */
export const CONTENT_TYPES = { png: "image/png", webp: "image/webp", jpeg: "image/jpeg" } as const;
export const OutputFormat = z.enum(["png", "webp", "jpeg"]);
export type OutputFormat = z.infer<typeof OutputFormat>;

export const MAX_IMAGES = 8;
export const MAX_CONTROLS = 8;
export const MAX_STEPS = 150;
/** A side of a picture is a multiple of this many pixels: the VAE's scale. */
export const SIZE_MULTIPLE = 8;
/** The most pixels on one side; what a picture may have in all is MAX_PIXELS of the configuration. */
export const MAX_SIDE = 8192;
/** The most pixels of an image that is sent in: what a large camera makes. */
export const MAX_IMAGE_PIXELS = 50_000_000;
/** The most characters of a prompt: far more than any text encoder reads, little enough to be tokenized in no time. */
export const MAX_PROMPT = 10_000;
export const MAX_METADATA_BYTES = 4096;
export const MAX_URL = 2000;
/** The longest time that `Prefer: wait` holds a request, in seconds; more counts as this. */
export const MAX_WAIT_SECONDS = 60;

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

const Id = z.string().min(1).max(200);
const Side = z
  .int()
  .min(SIZE_MULTIPLE)
  .max(MAX_SIDE)
  .multipleOf(SIZE_MULTIPLE, `must be a multiple of ${SIZE_MULTIPLE}`);

const imageSource =
  'a data: URI with base64 data ("data:image/png;base64,…"), an https: address, or "upload:" and the id of an upload';

/** An image in a request. The pattern looks at the head of a data: URI alone: one over 20 MB of base64 would be slow. */
const ImageSource = z
  .string()
  .regex(/^(data:[^,]{0,200};base64,|https?:\/\/\S{1,4000}$|upload:\w{1,100}$)/, `must be ${imageSource}`);

/** An image in the echo of a request: what it hashes to, never its bytes. */
const ImageHash = z.string().regex(/^sha256:[0-9a-f]{64}$/);

function oneOrList<T extends z.ZodType>(image: T) {
  return z.union([image, z.array(image).min(1).max(MAX_IMAGES)], {
    error: `must be one image or a list of num_images images; an image is ${imageSource}`,
  });
}

const controlShape = {
  controlnet: Id.describe("Id of a ControlNet that fits the model, from GET /v1/controlnets."),
  conditioning_scale: z.number().min(0).max(10).default(1).describe("Factor on the ControlNet's residuals; 0 = off."),
  control_guidance_start: z
    .number()
    .min(0)
    .max(1)
    .default(0)
    .describe("The ControlNet runs at evaluation i of total when i/total >= start …"),
  control_guidance_end: z.number().min(0).max(1).default(1).describe("… and (i+1)/total <= end."),
  control_mode: z
    .enum(["balanced", "prompt", "control"])
    .default("balanced")
    .describe(
      "Which counts more, as in the A1111 extension: prompt = residual i times 0.825^(12-i); control = so too, and on the conditional half only.",
    ),
  resize_mode: z
    .enum(["stretch", "crop", "fill"])
    .default("stretch")
    .describe(
      "How an image of other proportions becomes width × height: stretched as in diffusers, scaled to cover and cropped, or scaled to fit and filled up.",
    ),
  layer_scales: z
    .array(z.number().min(0).max(10))
    .min(1)
    .max(100)
    .nullable()
    .default(null)
    .describe(
      "A factor for each residual, as many as the model's `residuals`: skip connections first, then the middle.",
    ),
};

const sizeOfSdxl = z
  .tuple([z.int().min(0).max(MAX_SIDE), z.int().min(0).max(MAX_SIDE)])
  .nullable()
  .default(null);

/** How far image-to-image and inpainting go from the image, when the request does not say. */
export const DEFAULT_STRENGTH = 0.8;
const strength = z.number().gt(0).max(1);

/** What a webhook can tell of a generation or a training, in the order in which it happens; only one of the last three does. */
export const WEBHOOK_EVENTS = ["started", "succeeded", "failed", "canceled"] as const;
export const WebhookEvent = z.enum(WEBHOOK_EVENTS);
export type WebhookEvent = z.infer<typeof WebhookEvent>;

const Webhook = closed({
  url: z
    .url({ protocol: /^https?$/, error: "must be an https: address" })
    .max(MAX_URL)
    .refine((url) => !/^\w+:\/\/[^/?#]*@/.test(url), "must hold no user name or password")
    .describe(
      "An https: address that is POSTed to; http:, or a private address, only where the installation allows it.",
    ),
  events: z
    .array(WebhookEvent)
    .min(1)
    .max(WEBHOOK_EVENTS.length)
    .refine((events) => new Set(events).size === events.length, "must name each event once")
    .meta({ uniqueItems: true })
    .default(["succeeded", "failed", "canceled"])
    .describe("What to tell: the start, the end."),
}).describe(
  "Events are POSTed there as {type, timestamp, data: the generation or training}, signed by Standard Webhooks with the key of GET /v1/webhooks/secret. An event comes at least once; its webhook-id is the same each time. What is not answered by 2xx within 15 s is sent again for more than a day.",
);

/** Of its JSON; infinite where it is nested too deeply for that to be made. */
function jsonBytes(value: unknown): number {
  try {
    return Buffer.byteLength(JSON.stringify(value));
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}

const metadata = z
  .record(z.string(), z.unknown())
  .default({})
  .refine((value) => jsonBytes(value) <= MAX_METADATA_BYTES, {
    error: `must be at most ${MAX_METADATA_BYTES} bytes of JSON`,
  })
  .describe(`Echoed; at most ${MAX_METADATA_BYTES} bytes of JSON.`);

const generationShape = {
  prompt: z.string().max(MAX_PROMPT).describe("What the picture shows; may be empty."),
  negative_prompt: z
    .string()
    .max(MAX_PROMPT)
    .nullable()
    .default(null)
    .describe("What guidance leads away from; null = as diffusers does without one."),
  prompt_syntax: PromptSyntax.default("plain").describe(
    "plain: every character is text. weighted: as AUTOMATIC1111's web UI reads emphasis: (word) 1.1, (word:1.3) 1.3, [word] 1/1.1, nested ones multiplied, \\( \\) \\[ \\] \\\\ the characters themselves, BREAK begins a new chunk. Each token's embedding is multiplied by its weight, then the chunk is scaled to the mean it had; the pooled text of SDXL is not weighted. Its prompt editing ([a:b:0.5], [a|b]) and AND are read as text.",
  ),
  long_prompt: LongPrompt.default("truncate").describe(
    "What becomes of a prompt (or of a section between two BREAKs) of more than 75 tokens. truncate: cut off, with a warning. chunk: encoded 75 tokens at a time and joined; a chunk ends at a comma when one of its last 20 tokens is one. A shorter prompt of the two is filled up with empty chunks.",
  ),
  clip_skip: z
    .int()
    .min(0)
    .nullable()
    .default(null)
    .describe(
      "The prompt's text is read this many layers earlier than usual, at most the model's max_clip_skip; 1 = last but one layer (SDXL: last but two). As in diffusers, the negative prompt's is not.",
    ),
  num_inference_steps: z.int().min(1).max(MAX_STEPS).default(20),
  guidance_scale: z.number().min(0).max(100).default(7.5).describe("1 or less = no classifier-free guidance."),
  num_images: z.int().min(1).max(MAX_IMAGES).default(1).describe("Picture i is made with seed + i."),
  guess_mode: z
    .boolean()
    .default(false)
    .describe("ControlNets on the conditional half only, scales 0.1 to 1, evenly spaced in the logarithm."),
  cfg_resolution_weighting: z
    .boolean()
    .default(false)
    .describe("ControlNets on the conditional half only, residual i times 64 / its height (arXiv 2302.05543, 3.4)."),
  original_size: sizeOfSdxl.describe(
    "[height, width] that the picture is to look taken from; null = its own. SDXL only.",
  ),
  crops_coords_top_left: sizeOfSdxl.describe("[top, left] of the crop it is to look like; null = [0, 0]. SDXL only."),
  target_size: sizeOfSdxl.describe("[height, width]; null = its own. SDXL only."),
  output_format: OutputFormat.default("png"),
  preview: z.boolean().default(false).describe("Whether progress events show what the first picture is on its way to."),
  webhook: Webhook.nullable().default(null),
  priority: z.int().min(0).max(9).default(0).describe("0 is first, 9 is last."),
  metadata,
};

const seed = z.int().min(0).max(Number.MAX_SAFE_INTEGER);

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
  image: unknown;
  control_guidance_start: number;
  control_guidance_end: number;
}

/** What one field alone cannot tell. */
function crossChecks(ctx: z.core.ParsePayload<CrossChecked>) {
  const { image, mask_image: mask, strength, num_inference_steps: steps, seed, num_images } = ctx.value;
  const refuse = (field: string, message: string, within: (string | number)[] = []) =>
    ctx.issues.push({ code: "custom", input: ctx.value, path: [...within, field], message });
  const most = Number.MAX_SAFE_INTEGER - (num_images - 1);
  if (seed !== undefined && seed > most) {
    refuse("seed", `must be at most ${most}: picture i is made with seed + i`);
  }
  if (!image && mask) {
    refuse("mask_image", "needs an image to be painted in");
  }
  if (!image && typeof strength === "number") {
    refuse("strength", "is for image-to-image: it needs an image");
  }
  if (image && Math.trunc(steps * (strength ?? DEFAULT_STRENGTH)) < 1) {
    refuse("strength", `of ${steps} steps leaves no step to run`);
  }
  for (const [index, control] of ctx.value.controls.entries()) {
    const path = ["controls", index];
    if (control.control_guidance_start >= control.control_guidance_end) {
      refuse("control_guidance_start", "must be less than control_guidance_end", path);
    }
    if (Array.isArray(control.image) && control.image.length !== ctx.value.num_images) {
      refuse("image", `a list of images must have num_images (${ctx.value.num_images}) entries`, path);
    }
  }
}

/** The body of `POST /v1/generations`. */
export const GenerationInput = closed({
  model: Id.optional().describe("Id of a base model, from GET /v1/models; may be absent when there is only one."),
  ...generationShape,
  width: Side.optional().describe("Pixels; absent = the model's native size."),
  height: Side.optional().describe("Pixels; absent = the model's native size."),
  scheduler: SchedulerName.optional().describe("Absent = the checkpoint's own."),
  seed: seed.optional().describe("Absent = random, and returned."),
  controls: z
    .array(
      closed({
        ...controlShape,
        image: oneOrList(ImageSource).describe("The control image, or a list with one for each of num_images."),
        mask: ImageSource.optional().describe(
          "Where the ControlNet acts, stretched to the picture's size: white = fully, black = not at all.",
        ),
      }),
    )
    .max(MAX_CONTROLS)
    .default([]),
  image: ImageSource.optional().describe("Start from this image, stretched to the picture's size."),
  mask_image: ImageSource.optional().describe(
    "Inpainting: paint anew where this is white, keep the image where it is black.",
  ),
  strength: strength
    .optional()
    .describe(`How far to go from the image: the share of the steps that is run. Absent = ${DEFAULT_STRENGTH}.`),
})
  .check(crossChecks)
  .meta({
    id: "CreateGeneration",
    description: `What to generate. An image is a PNG, JPEG, WebP or GIF (its first frame), told by its content, of at most ${MAX_IMAGE_PIXELS} pixels, 65535 a side, and all of them together four times as many: as a data: URI with base64 data, as an https: address, or as \`upload:<id>\` (POST /v1/uploads). Addresses are fetched before the request is accepted, so that what is accepted no longer depends on them: within 15 s for all of them, through at most 4 redirects, from public hosts on port 443 or 8443, or from those that the installation allows. An image that cannot be had refuses the request (422) and names its field.`,
  });
export type GenerationInput = z.infer<typeof GenerationInput>;

/** A request as it is carried out: every default filled in, images by hash. What the worker gets and the API echoes. */
export const GenerationRequest = closed({
  model: Id,
  ...generationShape,
  width: Side,
  height: Side,
  scheduler: SchedulerName,
  seed,
  controls: z
    .array(closed({ ...controlShape, image: oneOrList(ImageHash), mask: ImageHash.nullable() }))
    .max(MAX_CONTROLS),
  image: ImageHash.nullable(),
  mask_image: ImageHash.nullable(),
  strength: strength.nullable().describe("null = from noise alone."),
})
  .check(crossChecks)
  .meta({
    id: "GenerationRequest",
    description: "The request as carried out: every default filled in, images by hash.",
  });
export type GenerationRequest = z.infer<typeof GenerationRequest>;

/** Every image that a request names. */
export const imagesOf = ({ controls, image, mask_image }: GenerationRequest): string[] =>
  [...controls.flatMap((control) => [control.image, control.mask]).flat(), image, mask_image].filter(
    (hash) => hash !== null,
  );

/**
 * How many evaluations of the networks a scheduler makes of n inference steps: the unit of progress.
 * PNDM repeats its second timestep; Heun is second order but for its last step.
 */
const EVALUATIONS = {
  ddim: (n) => n,
  ddpm: (n) => n,
  pndm: (n) => n + 1,
  euler: (n) => n,
  euler_karras: (n) => n,
  euler_ancestral: (n) => n,
  heun: (n) => 2 * n - 1,
  dpmpp_2m: (n) => n,
  dpmpp_2m_karras: (n) => n,
  dpmpp_2m_sde_karras: (n) => n,
  unipc: (n) => n,
  lcm: (n) => n,
} satisfies Record<SchedulerName, (n: number) => number>;

/** How many evaluations a request takes; image-to-image leaves out the first of its steps. */
export const evaluations = ({ scheduler, num_inference_steps, strength }: GenerationRequest) =>
  EVALUATIONS[scheduler](Math.trunc(num_inference_steps * (strength ?? 1)));

export const GenerationStatus = z.enum(["queued", "processing", "succeeded", "failed", "canceled"]);
export type GenerationStatus = z.infer<typeof GenerationStatus>;

export const Progress = z.object({
  step: z.int().min(0).describe("Network evaluations done."),
  total: z.int().min(0).describe("Network evaluations in all (Heun: 2n-1, PNDM: n+1)."),
});
export type Progress = z.infer<typeof Progress>;

/** What a progress event tells. */
export interface ProgressEvent extends Progress {
  /** A data: URI, when the request asks for it. */
  preview?: string;
}

/** A picture that was made, as it is kept in the generation's record. */
export const ImageRecord = z.object({
  seed: z.number().min(0),
  width: z.int(),
  height: z.int(),
  content_type: z.enum(Object.values(CONTENT_TYPES)),
  sha256: z.string(),
});
export type ImageRecord = z.infer<typeof ImageRecord>;

const milliseconds = z.number().min(0).nullable();
export const Metrics = z.object({
  queue_ms: milliseconds.describe("From accepted to started."),
  load_ms: milliseconds.describe("Loading networks; 0 when they were loaded already."),
  encode_ms: milliseconds.describe("Prompt and hints."),
  denoise_ms: milliseconds,
  decode_ms: milliseconds.describe("Latents to encoded pictures."),
  steps_per_second: z.number().min(0).nullable().describe("Network evaluations a second while denoising."),
});
export type Metrics = z.infer<typeof Metrics>;

const instant = z.iso.datetime();

export const Generation = z
  .object({
    id: z.string(),
    object: z.literal("generation"),
    status: GenerationStatus,
    progress: Progress,
    request: GenerationRequest,
    images: z.array(ImageRecord.extend({ url: z.url().describe("Absolute.") })),
    warnings: z.array(z.string()),
    error: z.object({ code: z.string(), message: z.string() }).nullable().describe("Why it failed."),
    metrics: Metrics.describe("What is not known yet is null."),
    created_at: instant,
    started_at: instant.nullable(),
    ended_at: instant.nullable(),
    metadata: z.record(z.string(), z.unknown()),
  })
  .meta({ id: "Generation" });
export type Generation = z.infer<typeof Generation>;

/** One try to deliver a webhook. */
export const WebhookAttempt = z.object({
  at: instant,
  status: z.int().nullable().describe("What the endpoint answered; null = it did not answer, or was not asked."),
  error: z.string().nullable().describe("Why this was no delivery."),
  duration_ms: z.number().min(0),
  next_attempt_at: instant.nullable(),
});
export type WebhookAttempt = z.infer<typeof WebhookAttempt>;

export const WebhookDelivery = z
  .object({
    id: z.string().describe("The event's, sent as webhook-id each time."),
    object: z.literal("webhook_delivery"),
    generation: z.string().nullable().describe("The generation that it tells of; null = a training."),
    training: z.string().nullable().describe("The training that it tells of; null = a generation."),
    type: z.enum(WEBHOOK_EVENTS.flatMap((event) => [`generation.${event}`, `training.${event}`] as const)),
    url: z.string(),
    status: z.enum(["pending", "delivered", "failed"]).describe("failed = it is not tried again, unless by replay."),
    attempts: z.array(WebhookAttempt).describe("The latest 20, oldest first."),
    next_attempt_at: instant.nullable(),
    created_at: instant.describe("When the event happened."),
  })
  .meta({ id: "WebhookDelivery" });
export type WebhookDelivery = z.infer<typeof WebhookDelivery>;

export const Upload = z
  .object({
    id: z.string().describe("In a request, `upload:` and this id stand for the image or the archive."),
    object: z.literal("upload"),
    bytes: z.int(),
    width: z.int().nullable().describe("Pixels, upright: after its EXIF orientation; null = an archive."),
    height: z.int().nullable(),
    sha256: z.string(),
    created_at: instant,
    expires_at: instant.describe("From then on no request can name it; what has been accepted is not touched."),
  })
  .meta({ id: "Upload" });
export type Upload = z.infer<typeof Upload>;

export const Model = z
  .object({
    id: Id,
    object: z.literal("model"),
    family: z.enum(["sd1", "sd2", "sdxl"]),
    width: z.int().describe("Native width in pixels: the default."),
    height: z.int().describe("Native height in pixels: the default."),
    scheduler: SchedulerName.describe("The checkpoint's own scheduler: the default."),
    schedulers: z
      .array(z.object({ id: SchedulerName, max_inference_steps: z.int() }))
      .describe("Those that its config allows, and how many num_inference_steps each can take."),
    prediction_type: z.enum(["epsilon", "v_prediction", "sample"]),
    residuals: z.int().describe("How many residuals its U-Net takes from a ControlNet."),
    max_clip_skip: z.int().describe("The most layers that clip_skip can leave out."),
    inpainting: z.boolean().describe("Its U-Net sees image and mask: every request needs both."),
    trainable: z.boolean().describe("ControlNets can be trained for it here."),
    resolution_multiple: z.int().describe("The resolution of a training for it is a multiple of this many pixels."),
    warnings: z.array(z.string()),
  })
  .meta({ id: "Model" });
export type Model = z.infer<typeof Model>;

export const ControlNet = z
  .object({
    id: Id,
    object: z.literal("controlnet"),
    models: z.array(Id).describe("Base models whose shapes it fits."),
    misfits: z.record(z.string(), z.string()).describe("Why it does not fit each of the others, with both shapes."),
    residuals: z.int(),
    global_pool_conditions: z.boolean().describe("Residuals averaged over H and W, conditional half only."),
    warnings: z.array(z.string()),
  })
  .meta({ id: "ControlNet" });
export type ControlNet = z.infer<typeof ControlNet>;

export const Scheduler = z
  .object({
    id: SchedulerName,
    object: z.literal("scheduler"),
    description: z.string(),
    stochastic: z.boolean().describe("Draws fresh noise at every step."),
    evaluations: z.enum(["n", "n+1", "2n-1"]).describe("Network evaluations for n = num_inference_steps."),
  })
  .meta({ id: "Scheduler" });
export type Scheduler = z.infer<typeof Scheduler>;

/** What a worker offers: it publishes this when it starts, and the gateway answers from it. */
export const Catalog = z.object({
  models: z.array(Model),
  controlnets: z.array(ControlNet),
  skipped: z.array(z.object({ path: z.string(), reason: z.string() })).describe("What MODELS_DIR holds beside models."),
  execution_provider: z.string(),
});
export type Catalog = z.infer<typeof Catalog>;

const trainingShape = {
  max_train_steps: z.int().min(1).max(10_000_000).describe("Steps of the optimiser."),
  learning_rate: z.number().positive().max(1).default(1e-5),
  lr_scheduler: z.enum(["constant", "cosine"]).default("constant"),
  lr_warmup_steps: z.int().min(0).default(0).describe("Steps over which the learning rate rises from 0."),
  train_batch_size: z.int().min(1).max(256).default(4),
  gradient_accumulation_steps: z.int().min(1).max(1024).default(1).describe("Batches whose gradients make one step."),
  resolution: Side.default(512).describe(
    "Pixels: pictures and hints are scaled to cover this square, the middle kept.",
  ),
  proportion_empty_prompts: z
    .number()
    .min(0)
    .max(1)
    .default(0.5)
    .describe("Share of pairs shown without their prompt."),
  random_flip: z.boolean().default(false).describe("Mirrors half of the pairs."),
  adam_weight_decay: z.number().min(0).max(1).default(0.01),
  max_grad_norm: z.number().positive().default(1),
  ema_decay: z
    .number()
    .min(0)
    .lt(1)
    .default(0)
    .describe("Decay of the averaged weights that are kept; 0 = the last weights."),
  checkpointing_steps: z.int().min(1).default(500).describe("Steps between what a killed training goes on from."),
};

/** How a network is trained: what a command line says beside its folders. Names and defaults: diffusers' train_controlnet.py. */
export const TrainingSettings = closed({ ...trainingShape, seed: seed.default(0) });
export type TrainingSettings = z.infer<typeof TrainingSettings>;

/** Which field of a training asks for batches of more than `most` pixels, and what is allowed; null = none. */
export function tooManyPixels(
  { resolution, train_batch_size }: Pick<TrainingSettings, "resolution" | "train_batch_size">,
  most: number,
): { path: "resolution" | "train_batch_size"; message: string } | null {
  const pixels = resolution ** 2;
  const allowed = `at most ${most} are allowed (MAX_PIXELS)`;
  if (pixels > most) {
    return { path: "resolution", message: `${resolution}×${resolution} is ${pixels} pixels: ${allowed}` };
  }
  if (train_batch_size * pixels > most) {
    const batch = `a batch of ${train_batch_size} × ${resolution}×${resolution} is ${train_batch_size * pixels} pixels`;
    const instead = `${Math.floor(most / pixels)} of these; gradient_accumulation_steps makes a step of more batches`;
    return { path: "train_batch_size", message: `${batch}: ${allowed}, ${instead}` };
  }
  return null;
}

/** Id of a ControlNet that a training makes: the name of its folder. */
const ControlNetName = z
  .string()
  .regex(/^[a-zA-Z0-9][\w-]{0,99}$/, "must be 1 to 100 letters, digits, _ or -, a letter or digit first")
  .describe("What the ControlNet is called when it is offered: its id. No other may have it.");

/** The most prompts and hints that a training is watched by. */
const MAX_VALIDATION = 8;

const trainingJobShape = {
  base: Id.describe("Id of the base model, from GET /v1/models: one that is `trainable`."),
  name: ControlNetName,
  dataset: z
    .string()
    .regex(
      /^(upload:\w{1,100}|folder:[^/\\]{1,200})$/,
      'must be "upload:" and the id of an archive, or "folder:" and a name',
    )
    .describe(
      "`upload:` and the id of an archive (POST /v1/uploads), or `folder:` and the name of a folder in the installation's DATASETS_DIR. It holds `prompt.json` (a line a pair: source, target, prompt, as in the original ControlNet's tutorial), or `metadata.jsonl` (file_name, conditioning_image, text), and the pictures that these name.",
    ),
  ...trainingShape,
  seed: seed.default(0),
  webhook: Webhook.nullable().default(null),
  metadata,
};

/** What one field alone cannot tell. */
function checkWarmup(ctx: z.core.ParsePayload<{ lr_warmup_steps: number; max_train_steps: number }>) {
  if (ctx.value.lr_warmup_steps > ctx.value.max_train_steps) {
    const message = "must be at most max_train_steps";
    ctx.issues.push({ code: "custom", input: ctx.value, path: ["lr_warmup_steps"], message });
  }
}

const validation = <T extends z.ZodType>(image: T) =>
  z
    .array(closed({ prompt: z.string().max(MAX_PROMPT), image }))
    .max(MAX_VALIDATION)
    .default([])
    .describe("Prompts and control images with which pictures are made whenever the training is saved.");

/** The body of `POST /v1/trainings`. */
export const TrainingInput = closed({ ...trainingJobShape, validation: validation(ImageSource) })
  .check(checkWarmup)
  .meta({
    id: "CreateTraining",
    description:
      "What to train: a ControlNet for a base, as its paper does (arXiv 2302.05543). Names and defaults are those of diffusers' train_controlnet.py. An image is as in the request of a generation.",
  });
export type TrainingInput = z.infer<typeof TrainingInput>;

/** A training's request as it is carried out. What the worker gets and the API echoes. */
export const TrainingRequest = closed({ ...trainingJobShape, validation: validation(ImageHash) }).meta({
  id: "TrainingRequest",
  description: "The request as carried out: every default filled in, images by hash.",
});
export type TrainingRequest = z.infer<typeof TrainingRequest>;

/** A picture that the ControlNet in training made, as it is kept in the training's record. */
export const ValidationPicture = z.object({
  step: z.int().min(1).describe("How many steps the ControlNet had been trained for."),
  index: z.int().min(0).describe("Which of the request's `validation`."),
});
export type ValidationPicture = z.infer<typeof ValidationPicture>;

const ValidationPictureWithUrl = ValidationPicture.extend({ url: z.url().describe("Absolute; a PNG.") });

export const Training = z
  .object({
    id: z.string(),
    object: z.literal("training"),
    status: GenerationStatus,
    progress: z.object({
      step: z.int().min(0).describe("Steps of the optimiser done."),
      total: z.int().min(0).describe("max_train_steps."),
    }),
    loss: z.number().nullable().describe("Of the latest step."),
    request: TrainingRequest,
    validation: z.array(ValidationPictureWithUrl).describe("The latest pictures."),
    loss_csv: z.url().describe("Loss, learning rate and gradient norm of every step, as of when it was last saved."),
    loss_png: z.url().describe("The same as a curve."),
    controlnet: Id.nullable().describe("The ControlNet's id, when it is offered."),
    warnings: z.array(z.string()).describe("Why it does not get on, when it does not."),
    error: z.object({ code: z.string(), message: z.string() }).nullable().describe("Why it failed."),
    created_at: instant,
    started_at: instant.nullable(),
    ended_at: instant.nullable(),
    metadata: z.record(z.string(), z.unknown()),
  })
  .meta({ id: "Training" });
export type Training = z.infer<typeof Training>;

/** What a progress event of a training tells. */
export interface TrainingProgressEvent extends Progress {
  loss: number;
  learning_rate: number;
  /** Made at this step. */
  validation: ValidationPicture[];
}

/** RFC 9457; the body of every answer from 400 up. */
export const Problem = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    code: z.string().describe("For programs: one word for the kind of error."),
    detail: z.string().describe("For people: what is wrong and what would be right."),
    errors: z.array(z.object({ path: z.string(), message: z.string() })).describe("One entry for each field at fault."),
  })
  .meta({ id: "Problem" });
export type Problem = z.infer<typeof Problem>;
