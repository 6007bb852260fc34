import { z } from "zod";

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
