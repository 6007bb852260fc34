/** Lists are given page by page. */
import { z } from "zod";

/** What a route that lists is asked, in its query. */
export const paging = {
  limit: z.coerce
    .number()
    .int()
    .min(1)
    .max(100)
    .default(20)
    .describe("The most entries of a page; one of long requests has fewer, and a `next_cursor`.")
    .meta({ examples: [20] }),
  cursor: z
    .string()
    .regex(/^\d{1,15}$/, "must be a next_cursor")
    .transform(Number)
    .optional()
    .describe("`next_cursor` of the page before; absent = the first page."),
};

/** A page of a list; `next_cursor` is null on the last one. */
export const listOf = <T extends z.ZodType>(item: T) =>
  z.object({
    object: z.literal("list").describe("The type of this object."),
    data: z.array(item).describe("The entries of this page."),
    next_cursor: z
      .string()
      .nullable()
      .describe("`cursor` of the next page; null = this is the last one.")
      .meta({ examples: ["20"] }),
  });

export const pageOf = <T>(data: T[], next: number | undefined) => ({
  object: "list" as const,
  data,
  next_cursor: next === undefined ? null : String(next),
});
