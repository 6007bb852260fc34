/** The gateway as a value: give it a queue and a storage, and listen, or look into its OpenAPI document. */
import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import swagger from "@fastify/swagger";
import swaggerUi from "@fastify/swagger-ui";
import Fastify, { type FastifyBaseLogger, type FastifyInstance, type FastifyRequest } from "fastify";
import type { FastifyPluginAsyncZod, ZodTypeProvider } from "fastify-type-provider-zod";
import { Addresses } from "../jobs/addresses.ts";
import { Fleet } from "../jobs/fleet.ts";
import { findImage } from "../jobs/kept-images.ts";
import { closed } from "../schema/closed.ts";
import { Uploads } from "../storage/uploads.ts";
import { isShared } from "./accept.ts";
import { authenticate } from "./auth.ts";
import { readBodies } from "./bodies.ts";
import { type Bounds, boundsOf } from "./bounds.ts";
import { takeCacheBustersAway } from "./cache-busters.ts";
import { allowOrigins } from "./cors.ts";
import { Decoders } from "./decoding/decoders.ts";
import { DIALECT_ROUTES } from "./dialects/table.ts";
import { refuseForeign } from "./foreign.ts";
import { countHeld } from "./held.ts";
import { rememberAnswers } from "./idempotency.ts";
import { ImagesIn } from "./images-in.ts";
import { Looks } from "./looks.ts";
import { oneByOne } from "./one-by-one.ts";
import { documentOptions } from "./openapi.ts";
import type { Parts, Service } from "./parts.ts";
import { answerUnknown, routerOptions, withoutPrefix } from "./paths.ts";
import { problemOf, refuseBytes, sendProblem } from "./problems.ts";
import { limitRate } from "./rate-limit.ts";
import { checkRedis } from "./redis-check.ts";
import { Room } from "./room.ts";
import { annotations } from "./routes/annotations.ts";
import { annotators } from "./routes/annotators.ts";
import { catalog } from "./routes/catalog.ts";
import { events } from "./routes/events.ts";
import { generations } from "./routes/generations.ts";
import { health } from "./routes/health.ts";
import { metrics } from "./routes/metrics.ts";
import { page } from "./routes/page.ts";
import { trainings } from "./routes/trainings.ts";
import { uploads as uploadRoutes } from "./routes/uploads.ts";
import { webhooks } from "./routes/webhooks.ts";
import { seeFromOutside } from "./seen-from.ts";
import { Shares } from "./shares.ts";
import { openSigned } from "./signed.ts";
import { sweep } from "./sweep.ts";
import { takeTurns } from "./turns.ts";
import { endUnusedConnections } from "./unused-connections.ts";
import { UploadLedger } from "./upload-ledger.ts";
import { serializerCompiler, validatorCompiler } from "./validate.ts";

declare module "fastify" {
  interface FastifyContextConfig {
    /** Takes any query. Of every other route a query that its schema does not name is refused: what a client says is never ignored. */
    anyQuery?: boolean;
  }
}

/** A resource is a file, and a row here. */
const ROUTES: readonly FastifyPluginAsyncZod<Service>[] = [
  page,
  health,
  catalog,
  annotators,
  uploadRoutes,
  generations,
  annotations,
  trainings,
  events,
  webhooks,
  sweep,
];

/** The document, and the page to read it on. */
async function documentation(app: FastifyInstance): Promise<void> {
  app.addHook("onRoute", (route) => {
    route.config = { ...route.config, open: true };
  });
  // Without its slash the page would look for its files at the root, which behind a proxy's path is another's.
  app.addHook("onRequest", async ({ url }, reply) => {
    const [path, query] = url.split("?");
    if (path === "/docs") return reply.redirect(`docs/${query === undefined ? "" : `?${query}`}`);
  });
  const at = (document: object, url: string) => ({ ...document, servers: [{ url }] });
  // The page asks where it was itself got from, be it by another name.
  const seenBy = (document: object, { addresses }: FastifyRequest) =>
    at(document, new URL(addresses.publicUrl).pathname);
  await app.register(swaggerUi, {
    routePrefix: "/docs",
    logLevel: "warn",
    uiConfig: { defaultModelsExpandDepth: 0 }, // hundreds of schemas at once take a browser seconds
    transformSpecification: seenBy,
    transformSpecificationClone: false,
  });
  app.get("/openapi.json", { schema: { hide: true } }, ({ addresses }) => at(app.swagger(), addresses.publicUrl));
}

const serverOptions = ({ headMs }: Bounds) => ({
  requestTimeout: 0, // of a body it is the idle time that is bounded: see arriving.ts
  headersTimeout: headMs,
  connectionsCheckingInterval: headMs / 10,
  keepAliveTimeout: 72_000, // as Fastify's own servers have it
});

export async function buildApp(parts: Parts, loggerInstance: FastifyBaseLogger) {
  const bounds = boundsOf(parts.config, parts.bounds);
  const app = Fastify({
    loggerInstance,
    routerOptions,
    rewriteUrl: withoutPrefix(parts.config.PUBLIC_URL),
    trustProxy: parts.config.TRUST_PROXY,
    bodyLimit: parts.config.MAX_BODY_BYTES,
    serverFactory: (handle) => createServer(serverOptions(bounds), oneByOne(handle)),
    clientErrorHandler: refuseBytes,
    genReqId: () => randomUUID(),
    frameworkErrors: (error, request, reply) =>
      sendProblem(reply, problemOf(error, request.log, request.routeOptions.bodyLimit)),
  }).withTypeProvider<ZodTypeProvider>();
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  app.setErrorHandler((error: Error, request, reply) =>
    sendProblem(reply, problemOf(error, request.log, request.routeOptions.bodyLimit)),
  );
  endUnusedConnections(app);
  answerUnknown(app);
  app.addHook("onRoute", (route) => {
    if (!route.config?.anyQuery && !route.schema?.hide) route.schema = { querystring: closed({}), ...route.schema };
  });
  const held = new Shares(bounds.heldBytes, bounds.heldBytesOfOwner, "bytes of requests on their way");
  const isAllowed = allowOrigins(app, parts.config.CORS_ORIGINS);
  if (parts.config.API_KEYS.length === 0) refuseForeign(app, parts.config, isAllowed);
  const addresses = new Addresses(parts.config, (command) => parts.queue.ask(command));
  openSigned(app, addresses, parts.queue); // a signature stands for a key
  takeCacheBustersAway(app); // of a signed link, what signs it is gone by then
  seeFromOutside(app, addresses, parts.config);
  authenticate(app, parts.config);
  countHeld(app, held, bounds);
  takeTurns(app, bounds);
  readBodies(app, bounds);
  await limitRate(app, parts.config, parts.queue);
  rememberAnswers(app, parts.queue);
  await app.register(swagger, documentOptions(parts.config.PUBLIC_URL));
  const ledger = new UploadLedger(
    parts.queue,
    isShared(parts.config) ? parts.config.DATA_DIR : null,
    bounds.uploadsOfOwner,
  );
  const uploads = new Uploads(parts.storage, parts.config, ledger);
  const decoders = new Decoders(bounds);
  app.addHook("onClose", async () => decoders.close());
  const kept = (owner: string, hash: string) =>
    parts.queue.ask((redis) => findImage(redis, parts.storage, owner, hash));
  const imagesIn = new ImagesIn(parts.config, { outbound: parts.outbound, uploads, decoders, held, kept });
  const followers = new Shares(bounds.streams, bounds.streamsOfOwner, "clients that follow events or wait");
  const room = new Room(parts.queue, parts.config.DATA_DIR);
  const [fleet, looks] = [new Fleet(parts.queue), new Looks(parts.queue)];
  const service: Service = { ...parts, bounds, fleet, uploads, imagesIn, room, looks, followers };
  checkRedis(app, parts.queue);
  metrics(app, service); // before the routes that it measures
  await app.register(documentation);
  for (const routes of ROUTES) await app.register(routes, service);
  for (const dialect of parts.config.DIALECTS) await app.register(DIALECT_ROUTES[dialect], service);
  return app;
}
