/** How what a client sends is held against a route's schema: null counts as absent. */
import { validatorCompiler as zodCompiler } from "fastify-type-provider-zod";
import type { z } from "zod";
import { withoutNulls } from "../schema/nulls.ts";

export const validatorCompiler: typeof zodCompiler = (route) => {
  const validate = zodCompiler(route);
  return (data) => validate(withoutNulls(route.schema as z.ZodType, data));
};
