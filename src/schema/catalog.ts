/** What an installation offers. */

import { z } from "zod";
import { EmbeddingEntry, IpAdapterEntry, LoraEntry, T2iAdapterEntry } from "./adapter-entries.ts";
import { fileWarnings, Id } from "./fields.ts";
import { SchedulerName } from "./scheduler-names.ts";
import { PredictionType } from "./schedulers.ts";
import { Precision } from "./speed.ts";

const attentions = z.array(z.int()).meta({ examples: [[2, 2, 2, 0]] });

const AttentionBlocks = z
  .object({
    down: attentions.describe("Of down block 0, 1, …"),
    mid: attentions.describe("Of the middle block."),
    up: attentions.describe("Of up block 0, 1, …"),
  })
  .describe("How many attentions to the text each block of its U-Net has: what `ip_adapters[].scale` can name.");
export type AttentionBlocks = z.infer<typeof AttentionBlocks>;

export const Model = z
  .object({
    id: Id,
    object: z.literal("model").describe("The type of this object."),
    created: z.literal(0).describe("Always 0: clients of OpenAI's API expect a time here."),
    owned_by: z.literal("local").describe("Always local: clients of OpenAI's API expect an owner here."),
    family: z.enum(["sd1", "sd2", "sdxl"]).describe("Which Stable Diffusion it is."),
    width: z
      .int()
      .describe("Native width in pixels: the default.")
      .meta({ examples: [512] }),
    height: z
      .int()
      .describe("Native height in pixels: the default.")
      .meta({ examples: [512] }),
    scheduler: SchedulerName.describe("The checkpoint's own scheduler: the default."),
    schedulers: z
      .array(
        z.object({
          id: SchedulerName.describe("The scheduler."),
          max_inference_steps: z
            .int()
            .describe("The most num_inference_steps it can take.")
            .meta({ examples: [150] }),
        }),
      )
      .describe("Those that its config allows, and how many num_inference_steps each can take."),
    prediction_type: PredictionType,
    residuals: z
      .int()
      .describe("How many residuals its U-Net takes from a ControlNet.")
      .meta({ examples: [13] }),
    max_clip_skip: z
      .int()
      .describe("The most layers that clip_skip can leave out.")
      .meta({ examples: [11] }),
    attention_blocks: AttentionBlocks,
    inpainting: z.boolean().describe("Its U-Net sees image and mask: every request needs both."),
    instruct_pix2pix: z
      .boolean()
      .describe("Its U-Net sees an image, and the prompt says what to change in it: every request needs image."),
    max_branch: z
      .int()
      .describe("The largest `cache.branch`.")
      .meta({ examples: [11] }),
    tiny_decoder: z.boolean().describe("Whether it has a tiny autoencoder, for `decoder` tiny and for previews."),
    safety_checker: z
      .enum(["none", "off", "flag", "blank"])
      .describe(
        "What becomes of pictures that its safety checker flags, with this API key: nothing, for it is not run (`off`); `images[].flagged` tells of it (`flag`); they are black (`blank`). `none`: it has no safety checker, so generations are refused where pictures of this key must be checked.",
      )
      .meta({ examples: ["off"] }),
    precision: Precision.describe(
      "What the worker that was heard of last computes its U-Net and its ControlNets in: float32 is exact.",
    ),
    trainable: z.boolean().describe("ControlNets can be trained for it here."),
    resolution_multiple: z
      .int()
      .describe("The resolution of a training for it is a multiple of this many pixels.")
      .meta({ examples: [64] }),
    warnings: fileWarnings,
  })
  .meta({ id: "Model" });
export type Model = z.infer<typeof Model>;

export const ControlNetEntry = z
  .object({
    id: Id,
    object: z.literal("controlnet").describe("The type of this object."),
    models: z.array(Id).describe("Base models whose shapes it fits."),
    misfits: z.record(z.string(), z.string()).describe("Why it does not fit each of the others, with both shapes."),
    residuals: z
      .int()
      .describe("How many residuals it gives the U-Net.")
      .meta({ examples: [13] }),
    global_pool_conditions: z.boolean().describe("Residuals averaged over H and W, conditional half only."),
    control_types: z
      .array(z.array(z.string()))
      .describe(
        "Of a ControlNet-Union: what `controls[].control_type` can be, the names of type 0, 1, … in turn (none where a type has no known name). Empty for any other.",
      )
      .meta({ examples: [[["openpose", "pose"], ["depth"]]] }),
    warnings: fileWarnings,
  })
  .meta({ id: "ControlNet" });
export type ControlNetEntry = z.infer<typeof ControlNetEntry>;

/** How a shelf is listed over HTTP. */
export interface ShelfRoute {
  readonly entry: z.ZodObject;
  readonly operationId: string;
  readonly summary: string;
  readonly description: string;
}

/**
 * What an installation may hold, one shelf a kind: `GET /v1/<shelf>` lists its entries. How a folder and how a file of MODELS_DIR
 * becomes one of them is in workers/generate/shelves.ts.
 */
export const SHELF_ROUTES = {
  models: {
    entry: Model,
    operationId: "listModels",
    summary: "List the base models",
    description: "What `model` of a request can be, with its native size and its schedulers.",
  },
  controlnets: {
    entry: ControlNetEntry,
    operationId: "listControlNets",
    summary: "List the ControlNets",
    description: "What `controls[].controlnet` can be, and which models each fits.",
  },
  loras: {
    entry: LoraEntry,
    operationId: "listLoras",
    summary: "List the LoRAs",
    description: "What `loras[].lora` can be, and which models each fits.",
  },
  embeddings: {
    entry: EmbeddingEntry,
    operationId: "listEmbeddings",
    summary: "List the textual inversions",
    description: "What `embeddings[].embedding` can be, the token of each, and which models it fits.",
  },
  ip_adapters: {
    entry: IpAdapterEntry,
    operationId: "listIpAdapters",
    summary: "List the IP-Adapters",
    description: "What `ip_adapters[].ip_adapter` can be, and which models each fits.",
  },
  adapters: {
    entry: T2iAdapterEntry,
    operationId: "listAdapters",
    summary: "List the T2I-Adapters",
    description: "What `adapters[].adapter` can be, and which models each fits.",
  },
} as const satisfies Record<string, ShelfRoute>;
export type ShelfName = keyof typeof SHELF_ROUTES;

/** Something in MODELS_DIR that is not served, and why. */
export const Unavailable = z.object({
  shelf: z.enum([...(Object.keys(SHELF_ROUTES) as [ShelfName, ...ShelfName[]]), "annotators"]),
  id: z
    .string()
    .describe("The id that it would have.")
    .meta({ examples: ["sd3-medium"] }),
  path: z.string().describe("Its folder or file."),
  reason: z
    .string()
    .describe("Why it is not served.")
    .meta({ examples: ["is Stable Diffusion 3, which is not supported"] }),
});
export type Unavailable = z.infer<typeof Unavailable>;

/** Which networks an annotator can run here. */
const NetworkAnnotator = z.object({
  id: z.string(),
  networks: z.array(z.string()).describe("Folders of MODELS_DIR/annotators."),
  published: z.array(z.string()).describe("Where its files are published."),
});

/** What a worker offers: it publishes this when it starts, and the gateway answers from it. */
export const Catalog = z.object({
  models: z.array(SHELF_ROUTES.models.entry),
  controlnets: z.array(SHELF_ROUTES.controlnets.entry),
  loras: z.array(SHELF_ROUTES.loras.entry),
  embeddings: z.array(SHELF_ROUTES.embeddings.entry),
  ip_adapters: z.array(SHELF_ROUTES.ip_adapters.entry),
  adapters: z.array(SHELF_ROUTES.adapters.entry),
  annotators: z.array(NetworkAnnotator).describe("The annotators that need networks."),
  skipped: z.array(Unavailable).describe("What MODELS_DIR holds that is not served."),
  execution_provider: z.string(),
} satisfies Record<ShelfName, z.ZodType> & Record<string, z.ZodType>);
export type Catalog = z.infer<typeof Catalog>;
