/** How what a client sends, and what it is answered, is held against a route's schemas: null counts as absent in what it sends. */
import type { FastifySerializerCompiler } from "fastify";
import { ResponseSerializationError, validatorCompiler as zodCompiler } from "fastify-type-provider-zod";
import type { z } from "zod";
import { withoutNulls } from "../schema/nulls.ts";

export const validatorCompiler: typeof zodCompiler = (route) => {
  const validate = zodCompiler(route);
  return (data) => validate(withoutNulls(route.schema as z.ZodType, data));
};

/** What an earlier release has kept is answered with the defaults of the fields that it did not know. */
export const serializerCompiler: FastifySerializerCompiler<z.ZodType> = ({ schema, method, url }) => {
  return (answer) => {
    const { data, error } = schema.safeParse(answer);
    if (error !== undefined) throw new ResponseSerializationError(method, url, { cause: error });
    return JSON.stringify(data);
  };
};
