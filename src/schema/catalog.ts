/** What an installation offers. */

import { z } from "zod";
import { Adapter, Embedding, IpAdapter, Lora } from "./adapter-entries.ts";
import { Id } from "./fields.ts";
import { SchedulerName } from "./scheduler-names.ts";
import { PredictionType } from "./schedulers.ts";

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
    prediction_type: PredictionType,
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

/** How a shelf is listed over HTTP. */
export interface ShelfRoute {
  readonly entry: z.ZodObject;
  readonly operationId: string;
  readonly summary: string;
}

/**
 * What an installation may hold, one shelf a kind: `GET /v1/<shelf>` lists its entries. How a folder and how a file of MODELS_DIR
 * becomes one of them is in workers/generate/shelves.ts.
 */
export const SHELVES = {
  models: { entry: Model, operationId: "listModels", summary: "The base models" },
  controlnets: {
    entry: ControlNet,
    operationId: "listControlNets",
    summary: "The ControlNets, and which models they fit",
  },
  loras: { entry: Lora, operationId: "listLoras", summary: "The LoRA, and which models they fit" },
  embeddings: {
    entry: Embedding,
    operationId: "listEmbeddings",
    summary: "The textual inversions, and which models they fit",
  },
  ip_adapters: {
    entry: IpAdapter,
    operationId: "listIpAdapters",
    summary: "The IP-Adapters, and which models they fit",
  },
  adapters: { entry: Adapter, operationId: "listAdapters", summary: "The T2I-Adapters, and which models they fit" },
} as const satisfies Record<string, ShelfRoute>;
export type ShelfName = keyof typeof SHELVES;

/** Something in MODELS_DIR that is not served, and why. */
export const Unavailable = z.object({
  shelf: z.enum(Object.keys(SHELVES) as [ShelfName, ...ShelfName[]]),
  id: z.string().describe("The id that it would have."),
  path: z.string(),
  reason: z.string(),
});
export type Unavailable = z.infer<typeof Unavailable>;

/** What a worker offers: it publishes this when it starts, and the gateway answers from it. */
export const Catalog = z.object({
  models: z.array(SHELVES.models.entry),
  controlnets: z.array(SHELVES.controlnets.entry),
  loras: z.array(SHELVES.loras.entry),
  embeddings: z.array(SHELVES.embeddings.entry),
  ip_adapters: z.array(SHELVES.ip_adapters.entry),
  adapters: z.array(SHELVES.adapters.entry),
  skipped: z.array(Unavailable).describe("What MODELS_DIR holds that is not served."),
  execution_provider: z.string(),
} satisfies Record<ShelfName, z.ZodType> & Record<string, z.ZodType>);
export type Catalog = z.infer<typeof Catalog>;
