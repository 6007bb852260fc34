/** What the catalog says of LoRA, textual inversions, IP-Adapters and T2I-Adapters. */
import { z } from "zod";
import { Id } from "./fields.ts";

const fit = {
  models: z.array(Id).describe("Base models that it fits."),
  misfits: z.record(z.string(), z.string()).describe("Why it does not fit each of the others."),
  warnings: z.array(z.string()),
};

export const Lora = z.object({ id: Id, object: z.literal("lora"), ...fit }).meta({ id: "Lora" });

export const Embedding = z
  .object({
    id: Id,
    object: z.literal("embedding"),
    token: z.string().describe("What stands for it in prompts, unless the request says otherwise."),
    vectors: z.int().describe("How many of a prompt's tokens it takes."),
    ...fit,
  })
  .meta({ id: "Embedding" });

export const IpAdapter = z
  .object({ id: Id, object: z.literal("ip_adapter"), kind: z.enum(["base", "plus"]), ...fit })
  .meta({ id: "IpAdapter" });

export const Adapter = z
  .object({
    id: Id,
    object: z.literal("adapter"),
    channels: z.int().describe("Of its control image: 3 = colours, 1 = how light it is."),
    size_multiple: z.int().describe("Width and height of a picture must be multiples of this many pixels."),
    ...fit,
  })
  .meta({ id: "Adapter" });
