import { z } from "zod";
import { instant } from "./fields.ts";

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
