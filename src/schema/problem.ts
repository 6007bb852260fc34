import { z } from "zod";
import { JOB_CODES, PROBLEM_CODES } from "./error-codes.ts";

/** RFC 9457; the body of every answer from 400 up. */
export const Problem = z
  .object({
    type: z
      .string()
      .describe("Always about:blank: `code` tells the kinds apart.")
      .meta({ examples: ["about:blank"] }),
    title: z
      .string()
      .describe("The status in words.")
      .meta({ examples: ["Unprocessable Entity"] }),
    status: z
      .int()
      .describe("The HTTP status.")
      .meta({ examples: [422] }),
    code: z
      .string()
      .describe("For programs: one word for the kind of error (docs/errors.md).")
      .meta({
        enum: [...new Set([...Object.keys(PROBLEM_CODES), ...Object.keys(JOB_CODES)])],
        examples: ["invalid_request"],
      }),
    detail: z
      .string()
      .describe("For people: what is wrong and what would be right.")
      .meta({ examples: ["steps: is not a field of this request; num_inference_steps is"] }),
    errors: z
      .array(
        z.object({
          path: z
            .string()
            .describe("The field, such as controls[0].image.")
            .meta({ examples: ["controls[0].controlnet"] }),
          message: z
            .string()
            .describe("What is wrong with it, and what is allowed.")
            .meta({ examples: ["must be at most 10"] }),
        }),
      )
      .describe("One entry for each field at fault."),
  })
  .meta({ id: "Problem" });
export type Problem = z.infer<typeof Problem>;
