/** What a request may add to a model: LoRA, textual inversions, IP-Adapters and T2I-Adapters, each a file of a shelf. */
import { z } from "zod";
import { closed } from "./closed.ts";
import { meantInGeneration } from "./field-names.ts";
import { Id } from "./fields.ts";
import type { ImageForms } from "./images.ts";

/** The most of each kind in one request. */
export const MAX_ADAPTERS = 8;

const few = <T extends z.ZodType>(entry: T) => z.array(entry).max(MAX_ADAPTERS).default([]);

const scale = z.number().min(-100).max(100).default(1);

const loras = few(
  closed(
    {
      lora: Id.describe("Id of a LoRA that fits the model, from GET /v1/loras.").meta({ examples: ["pixel-art"] }),
      scale: scale
        .describe("Factor on what it adds to the weights, of text encoders too; may be negative; 0 = without it.")
        .meta({ examples: [0.8] }),
    },
    meantInGeneration("loras[]."),
  ),
).describe("LoRA, LoCon, DoRA, LoHa, LoKr and whole differences: what they add to the weights is summed.");

const embeddings = few(
  closed(
    {
      embedding: Id.describe("Id of a textual inversion that fits the model, from GET /v1/embeddings.").meta({
        examples: ["cat-toy"],
      }),
      token: z
        .string()
        .min(1)
        .max(100)
        .regex(/^\S+$/, "must have no spaces")
        .nullable()
        .default(null)
        .describe("What stands for it in the prompts; null = the name in its file, or its id.")
        .meta({ examples: ["<cat-toy>"] }),
    },
    meantInGeneration("embeddings[]."),
  ),
).describe(
  "Textual inversions (arXiv 2208.01618): each is used where its token is written in prompt or negative_prompt.",
);

const factor = z.number().min(-10).max(10);
const factors = z.union([factor, z.array(factor).min(1).max(100)], "must be a number of -10 to 10, or a list of them");
const ofPart = z.union(
  [factors, z.record(z.string().regex(/^block_\d{1,2}$/, "must be block_0, block_1, …"), factors)],
  "must be a number of -10 to 10, a list of them, or an object of block_0, block_1, …",
);

/** A number, or diffusers' set_ip_adapter_scale: {down: {block_1: [1, 0]}, mid: 1, up: {…}}. */
export const IpScale = z.union([factor, z.partialRecord(z.enum(["down", "mid", "up"]), ofPart)], {
  error: 'must be a number, or an object of blocks such as {"up": {"block_0": [0, 1, 0]}}',
});
export type IpScale = z.infer<typeof IpScale>;

const ipAdapters = <O extends z.ZodType, L extends z.ZodType, M extends z.ZodType>(form: ImageForms<O, L, M>) =>
  few(
    closed(
      {
        ip_adapter: Id.describe("Id of an IP-Adapter that fits the model, from GET /v1/ip_adapters.").meta({
          examples: ["ip-adapter_sd15"],
        }),
        image: form.oneOrList.describe(
          "What the picture should be like: one image, or several for one adapter. Transparency is dropped, and the colors under it count.",
        ),
        scale: IpScale.default(1)
          .describe(
            'Factor on the attention to the image; or an object of blocks as diffusers\' set_ip_adapter_scale takes, where what is not named is 0: {"up": {"block_0": [0, 1, 0]}}.',
          )
          .meta({ examples: [0.6] }),
        mask: form.optional.describe(
          "Where it acts, stretched to the picture's size: half as light as white or lighter = there; its alpha does not count.",
        ),
      },
      meantInGeneration("ip_adapters[]."),
    ),
  ).describe("IP-Adapters (arXiv 2308.06721): images in place of words.");

const t2iAdapters = <O extends z.ZodType, L extends z.ZodType, M extends z.ZodType>(form: ImageForms<O, L, M>) =>
  few(
    closed(
      {
        adapter: Id.describe("Id of a T2I-Adapter that fits the model, from GET /v1/adapters.").meta({
          examples: ["t2iadapter_canny_sd15v2"],
        }),
        image: form.one.describe(
          "The control image, stretched to the picture's size. Transparency is dropped, and the colors under it count.",
        ),
        conditioning_scale: z
          .number()
          .min(0)
          .max(10)
          .default(1)
          .describe("Factor on its features; 0 = off.")
          .meta({ examples: [0.8] }),
        conditioning_factor: z
          .number()
          .min(0)
          .max(1)
          .default(1)
          .describe("The share of the steps, from the first, in which it acts.")
          .meta({ examples: [1] }),
      },
      meantInGeneration("adapters[]."),
    ),
  ).describe("T2I-Adapters (arXiv 2302.08453): features computed once, added in the U-Net's encoder.");

/** The fields of a generation's request. */
export const adapterFields = <O extends z.ZodType, L extends z.ZodType, M extends z.ZodType>(
  form: ImageForms<O, L, M>,
) => ({
  loras,
  embeddings,
  ip_adapters: ipAdapters(form),
  adapters: t2iAdapters(form),
});
