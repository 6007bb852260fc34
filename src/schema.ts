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
/** The longest time that `Prefer: wait` holds a request, in seconds; more counts as this. */
export const MAX_WAIT_SECONDS = 60;

z.config({
  customError: (issue) => (issue.code === "invalid_type" && issue.input === undefined ? "is required" : undefined),
});

/** An object that refuses unknown keys and names the nearest known one. */
function closed<Shape extends z.ZodRawShape>(shape: Shape) {
  return z.strictObject(shape, {
    error: (issue) =>
      issue.code === "unrecognized_keys"
        ? issue.keys
            .map((key) => `unknown field "${key}", the nearest known one is "${nearest(key, shape)}"`)
            .join("; ")
        : undefined,
  });
}

/** The known key with the least edit distance, of those that hold the unknown one or are held by it when there are such. */
function nearest(key: string, shape: z.ZodRawShape): string {
  const unknown = key.slice(0, 100); // the distance costs its length times that of each known key
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

const dataUri = 'a data: URI with base64 data, as in "data:image/png;base64,…"; no other kind of address is taken';

/** An image in a request. The pattern looks at the head alone: one over 20 MB of base64 would be slow. */
const ImageSource = z.string().regex(/^data:[^,]{0,200};base64,/, `must be ${dataUri}`);

/** An image in the echo of a request: what it hashes to, never its bytes. */
const ImageHash = z.string().regex(/^sha256:[0-9a-f]{64}$/);

function oneOrList<T extends z.ZodType>(image: T) {
  return z.union([image, z.array(image).min(1).max(MAX_IMAGES)], {
    error: `must be one image or a list of num_images images; an image is ${dataUri}`,
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
};

const generationShape = {
  prompt: z.string().max(MAX_PROMPT).describe("What the picture shows; may be empty."),
  negative_prompt: z
    .string()
    .max(MAX_PROMPT)
    .nullable()
    .default(null)
    .describe("What guidance leads away from; null = as diffusers does without one."),
  num_inference_steps: z.int().min(1).max(MAX_STEPS).default(20),
  guidance_scale: z.number().min(0).max(100).default(7.5).describe("1 or less = no classifier-free guidance."),
  num_images: z.int().min(1).max(MAX_IMAGES).default(1).describe("Picture i is made with seed + i."),
  guess_mode: z
    .boolean()
    .default(false)
    .describe("ControlNets on the conditional half only, scales 0.1 to 1, evenly spaced in the logarithm."),
  output_format: OutputFormat.default("png"),
  metadata: z
    .record(z.string(), z.unknown())
    .default({})
    .refine((value) => Buffer.byteLength(JSON.stringify(value)) <= MAX_METADATA_BYTES, {
      error: `must be at most ${MAX_METADATA_BYTES} bytes of JSON`,
    })
    .describe(`Echoed; at most ${MAX_METADATA_BYTES} bytes of JSON.`),
};

const seed = z.int().min(0).max(Number.MAX_SAFE_INTEGER);

interface Control {
  image: unknown;
  control_guidance_start: number;
  control_guidance_end: number;
}

/** What one field alone cannot tell. */
function crossChecks(ctx: z.core.ParsePayload<{ num_images: number; controls: Control[] }>) {
  for (const [index, control] of ctx.value.controls.entries()) {
    const refuse = (field: string, message: string) =>
      ctx.issues.push({ code: "custom", input: control, path: ["controls", index, field], message });
    if (control.control_guidance_start >= control.control_guidance_end) {
      refuse("control_guidance_start", "must be less than control_guidance_end");
    }
    if (Array.isArray(control.image) && control.image.length !== ctx.value.num_images) {
      refuse("image", `a list of images must have num_images (${ctx.value.num_images}) entries`);
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
      }),
    )
    .max(MAX_CONTROLS)
    .default([]),
})
  .check(crossChecks)
  .meta({ id: "CreateGeneration", description: "What to generate." });
export type GenerationInput = z.infer<typeof GenerationInput>;

/** A request as it is carried out: every default filled in, images by hash. What the worker gets and the API echoes. */
export const GenerationRequest = closed({
  model: Id,
  ...generationShape,
  width: Side,
  height: Side,
  scheduler: SchedulerName,
  seed,
  controls: z.array(closed({ ...controlShape, image: oneOrList(ImageHash) })).max(MAX_CONTROLS),
})
  .check(crossChecks)
  .meta({
    id: "GenerationRequest",
    description: "The request as carried out: every default filled in, images by hash.",
  });
export type GenerationRequest = z.infer<typeof GenerationRequest>;

/**
 * How many evaluations of the networks a scheduler makes of `num_inference_steps` n: the unit of progress.
 * PNDM (skip_prk_steps) repeats its second timestep; Heun is second order but for its last step.
 */
export const EVALUATIONS = {
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

export const GenerationStatus = z.enum(["queued", "processing", "succeeded", "failed", "canceled"]);
export type GenerationStatus = z.infer<typeof GenerationStatus>;

export const Progress = z.object({
  step: z.int().min(0).describe("Network evaluations done."),
  total: z.int().min(0).describe("Network evaluations in all (Heun: 2n-1, PNDM: n+1)."),
});
export type Progress = z.infer<typeof Progress>;

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

export const Model = z
  .object({
    id: Id,
    object: z.literal("model"),
    family: z.enum(["sd1", "sd2", "sdxl"]),
    width: z.int().describe("Native width in pixels: the default."),
    height: z.int().describe("Native height in pixels: the default."),
    scheduler: SchedulerName.describe("The checkpoint's own scheduler: the default."),
    prediction_type: z.enum(["epsilon", "v_prediction", "sample"]),
    residuals: z.int().describe("How many residuals its U-Net takes from a ControlNet."),
    warnings: z.array(z.string()),
  })
  .meta({ id: "Model" });
export type Model = z.infer<typeof Model>;

export const ControlNet = z
  .object({
    id: Id,
    object: z.literal("controlnet"),
    models: z.array(Id).describe("Base models whose shapes it fits."),
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
