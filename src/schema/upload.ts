import { z } from "zod";
import { instant } from "./fields.ts";

export const Upload = z
  .object({
    id: z
      .string()
      .describe("In a request, `upload:` and this id stand for the image or the archive.")
      .meta({ examples: ["up_3f0a1b2c4d5e6f708192a3b4"] }),
    object: z.literal("upload").describe("The type of this object."),
    bytes: z
      .int()
      .describe("Size of the file.")
      .meta({ examples: [48213] }),
    width: z
      .int()
      .nullable()
      .describe("Pixels, upright: after its EXIF orientation; null = an archive.")
      .meta({ examples: [512] }),
    height: z
      .int()
      .nullable()
      .describe("Pixels, upright; null = an archive.")
      .meta({ examples: [512] }),
    sha256: z
      .string()
      .describe("Of the file, in hexadecimal.")
      .meta({ examples: ["0f".repeat(32)] }),
    created_at: instant.describe("When it was received."),
    expires_at: instant.describe("From then on no request can name it; what was accepted before is not touched."),
  })
  .meta({ id: "Upload" });
export type Upload = z.infer<typeof Upload>;
