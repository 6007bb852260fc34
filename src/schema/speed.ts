/** Fields of a request that buy speed at a named price; by their defaults the picture is exact. */
import { z } from "zod";
import { closed } from "./closed.ts";

/** What a worker computes U-Nets and ControlNets in (PRECISION): the others are quicker, and no longer exact. */
export const Precision = z.enum(["float32", "int8", "float16"]).meta({ examples: ["float32"] });
export type Precision = z.infer<typeof Precision>;

const deepcache = closed({
  method: z.literal("deepcache").describe("DeepCache (arXiv 2312.00858)."),
  interval: z
    .int()
    .min(1)
    .max(20)
    .default(3)
    .describe("The whole U-Net runs at every so many evaluations, its outer part at those between; 1 = always, exact.")
    .meta({ examples: [3] }),
  branch: z
    .int()
    .min(0)
    .max(99)
    .default(0)
    .describe(
      "The last skip connection of the outer part: more is slower and closer to exact; at most the model's max_branch.",
    )
    .meta({ examples: [0] }),
})
  .nullable()
  .default(null)
  .describe(
    "Between two whole evaluations only the outer part of the U-Net runs, on the deep features of the last whole one, and of the ControlNets only what that part takes. null = exact.",
  )
  .meta({ examples: [{ method: "deepcache", interval: 3, branch: 0 }] });

export const speedShape = {
  cache: deepcache,
  control_interval: z
    .int()
    .min(1)
    .max(20)
    .default(1)
    .describe(
      "The ControlNets run at every so many evaluations; what they gave is used at those between. 1 = always, exact.",
    )
    .meta({ examples: [2] }),
  decoder: z
    .enum(["full", "tiny"])
    .default("full")
    .describe(
      "What makes the picture of the latents: the model's VAE, or the tiny autoencoder beside it, in a hundredth of the time and less sharp.",
    ),
};

export type Speed = z.infer<z.ZodObject<typeof speedShape>>;
