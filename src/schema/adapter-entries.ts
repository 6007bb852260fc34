/** What the catalog says of LoRA, textual inversions, IP-Adapters and T2I-Adapters. */
import { z } from "zod";
import { fileWarnings, Id } from "./fields.ts";

const typeName = <T extends string>(name: T) => z.literal(name).describe("The type of this object.");

const fit = {
  models: z.array(Id).describe("Base models that it fits."),
  misfits: z.record(z.string(), z.string()).describe("Why it does not fit each of the others."),
  warnings: fileWarnings,
};

export const LoraEntry = z.object({ id: Id, object: typeName("lora"), ...fit }).meta({ id: "Lora" });

export const EmbeddingEntry = z
  .object({
    id: Id,
    object: typeName("embedding"),
    token: z
      .string()
      .describe("What stands for it in prompts, unless the request says otherwise.")
      .meta({ examples: ["<cat-toy>"] }),
    vectors: z
      .int()
      .describe("How many of a prompt's tokens it takes.")
      .meta({ examples: [4] }),
    ...fit,
  })
  .meta({ id: "Embedding" });

export const IpAdapterEntry = z
  .object({
    id: Id,
    object: typeName("ip_adapter"),
    kind: z
      .enum(["base", "plus", "full"])
      .describe("base: one embedding of the image; plus and full: its patches, for more of the detail."),
    ...fit,
  })
  .meta({ id: "IpAdapter" });

export const T2iAdapterEntry = z
  .object({
    id: Id,
    object: typeName("adapter"),
    channels: z
      .int()
      .describe("Of its control image: 3 = colors, 1 = how light it is.")
      .meta({ examples: [3] }),
    size_multiple: z
      .int()
      .describe("Width and height of a picture must be multiples of this many pixels.")
      .meta({ examples: [64] }),
    ...fit,
  })
  .meta({ id: "Adapter" });
