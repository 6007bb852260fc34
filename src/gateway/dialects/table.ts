/** The APIs of other systems that can be spoken: a dialect is a row here, switched on by DIALECTS. */
import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import type { Dialect } from "../../config/config.ts";
import type { Service } from "../parts.ts";
import { a1111 } from "./a1111.ts";
import { openai } from "./openai.ts";
import { replicate } from "./replicate.ts";

export const DIALECT_ROUTES = { openai, a1111, replicate } satisfies Record<Dialect, FastifyPluginAsyncZod<Service>>;
