/** The gateway as a value: give it a queue and a storage, and listen, or look into its OpenAPI document. */
import { randomUUID } from "node:crypto";
import swagger from "@fastify/swagger";
import swaggerUi from "@fastify/swagger-ui";
import Fastify, { type FastifyBaseLogger } from "fastify";
import { serializerCompiler, validatorCompiler, type ZodTypeProvider } from "fastify-type-provider-zod";
import type { Config } from "../config/config.ts";
import type { GenerationQueue } from "../jobs/queue.ts";
import type { Outbound } from "../outbound/client.ts";
import { closed } from "../schema/schema.ts";
import type { Storage } from "../storage/storage.ts";
import { Uploads } from "../storage/uploads.ts";
import { authenticate } from "./auth.ts";
import { rememberAnswers } from "./idempotency.ts";
import { ImagesIn } from "./images-in.ts";
import { documentOptions } from "./openapi.ts";
import { problem, problemOf, refuseBytes, sendProblem } from "./problems.ts";
import { limitRate } from "./rate-limit.ts";
import { catalog } from "./routes/catalog.ts";
import { events } from "./routes/events.ts";
import { generations } from "./routes/generations.ts";
import { health } from "./routes/health.ts";
import { metrics } from "./routes/metrics.ts";
import { trainings } from "./routes/trainings.ts";
import { uploads } from "./routes/uploads.ts";
import { webhooks } from "./routes/webhooks.ts";
import { sweep } from "./sweep.ts";

/** What the routes work with. */
export interface Parts {
  config: Config;
  queue: GenerationQueue;
  storage: Storage;
  outbound: Outbound;
}

/** How long a request may take to arrive, its body included. */
const REQUEST_MS = 120_000;

export async function buildApp(parts: Parts, loggerInstance: FastifyBaseLogger) {
  const app = Fastify({
    loggerInstance,
    bodyLimit: parts.config.MAX_BODY_BYTES,
    requestTimeout: REQUEST_MS,
    clientErrorHandler: refuseBytes,
    genReqId: () => randomUUID(),
    frameworkErrors: (error, request, reply) => sendProblem(reply, problemOf(error, request.log)),
  }).withTypeProvider<ZodTypeProvider>();
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  app.setErrorHandler((error: Error, request, reply) => sendProblem(reply, problemOf(error, request.log)));
  app.setNotFoundHandler((request, reply) =>
    sendProblem(reply, problem(404, "not_found", `there is no ${request.method} ${request.url.split("?")[0]}`)),
  );
  app.addHook("onRoute", (route) => {
    // A route that reads no query refuses one: what a client says is never ignored.
    if (route.url.startsWith("/v1/")) route.schema = { querystring: closed({}), ...route.schema };
  });
  authenticate(app, parts.config.API_KEYS);
  await limitRate(app, parts.config.RATE_LIMIT, parts.queue);
  rememberAnswers(app, parts.queue);
  await app.register(swagger, documentOptions);
  metrics(app, parts);
  await app.register(swaggerUi, { routePrefix: "/docs", logLevel: "warn" });
  app.get("/openapi.json", { schema: { hide: true } }, () => app.swagger());
  await app.register(health, parts);
  await app.register(catalog, parts);
  const kept = new Uploads(parts.storage, parts.config);
  await app.register(uploads, { ...parts, uploads: kept });
  const imagesIn = new ImagesIn(parts.config, parts.outbound, kept);
  await app.register(generations, { ...parts, imagesIn });
  await app.register(trainings, { ...parts, imagesIn, uploads: kept });
  await app.register(events, parts);
  await app.register(sweep, parts);
  await app.register(webhooks, parts);
  return app;
}
