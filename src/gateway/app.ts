/** The gateway as a value: give it a queue and a storage, and listen, or look into its OpenAPI document. */
import { randomUUID } from "node:crypto";
import swagger from "@fastify/swagger";
import swaggerUi from "@fastify/swagger-ui";
import Fastify, { type FastifyBaseLogger } from "fastify";
import { serializerCompiler, validatorCompiler, type ZodTypeProvider } from "fastify-type-provider-zod";
import type { Config } from "../config.ts";
import type { GenerationQueue } from "../queue.ts";
import type { Storage } from "../storage.ts";
import { catalog } from "./catalog.ts";
import { generations } from "./generations.ts";
import { health } from "./health.ts";
import { documentOptions } from "./openapi.ts";
import { problem, problemOf, sendProblem } from "./problems.ts";

/** What the routes work with. */
export interface Parts {
  config: Config;
  queue: GenerationQueue;
  storage: Storage;
}

export async function buildApp(parts: Parts, loggerInstance: FastifyBaseLogger) {
  const app = Fastify({
    loggerInstance,
    bodyLimit: parts.config.MAX_BODY_BYTES,
    genReqId: () => randomUUID(),
    frameworkErrors: (error, request, reply) => sendProblem(reply, problemOf(error, request.log)),
  }).withTypeProvider<ZodTypeProvider>();
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  app.setErrorHandler((error: Error, request, reply) => sendProblem(reply, problemOf(error, request.log)));
  app.setNotFoundHandler((request, reply) =>
    sendProblem(reply, problem(404, "not_found", `there is no ${request.method} ${request.url.split("?")[0]}`)),
  );
  await app.register(swagger, documentOptions);
  await app.register(swaggerUi, { routePrefix: "/docs", logLevel: "warn" });
  app.get("/openapi.json", { schema: { hide: true } }, () => app.swagger());
  await app.register(health, parts);
  await app.register(catalog, parts);
  await app.register(generations, parts);
  return app;
}
