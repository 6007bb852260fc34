/** Replicate's API below `/replicate/v1`, for its paths are ours too (docs/dialects.md). */
import type { FastifyInstance } from "fastify";
import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { closed } from "../../schema/closed.ts";
import { REPLICATE } from "../../webhooks/prediction.ts";
import { signingSecrets } from "../../webhooks/signing.ts";
import { ownerOf } from "../auth.ts";
import type { Service } from "../parts.ts";
import { problem, problemOf, sendError } from "../problems.ts";
import { answerOther, notOffered } from "./at-once.ts";
import { files } from "./replicate/files.ts";
import { models } from "./replicate/models.ts";
import { predictions } from "./replicate/predictions.ts";

const schema = { hide: true, querystring: closed({}) } as const;

/** What is not there, and why. */
const NOT_THERE: [method: "GET" | "POST" | "PATCH" | "DELETE", path: string, why: string][] = [
  ["POST", "/models", "models lie in MODELS_DIR"],
  ["GET", "/collections", "there are none"],
  ["GET", "/collections/:slug", "there are none"],
  ["GET", "/hardware", "workers take what they have"],
  ["GET", "/deployments", "each model takes predictions"],
  ["POST", "/deployments", "each model takes predictions"],
  ["GET", "/deployments/:owner/:name", "each model takes predictions"],
  ["PATCH", "/deployments/:owner/:name", "each model takes predictions"],
  ["DELETE", "/deployments/:owner/:name", "each model takes predictions"],
  ["GET", "/trainings", "ControlNets are trained at POST /v1/trainings"],
  ["GET", "/trainings/:id", "ControlNets are trained at POST /v1/trainings"],
  ["POST", "/trainings/:id/cancel", "ControlNets are trained at POST /v1/trainings"],
  ["POST", "/models/:owner/:name/versions/:version/trainings", "ControlNets are trained at POST /v1/trainings"],
];

export const replicate: FastifyPluginAsyncZod<Service> = async (root, service) => {
  const closing = new AbortController();
  root.addHook("preClose", async () => closing.abort());
  await root.register(async (app) => routes(app, service, closing.signal), { prefix: REPLICATE });
};

function routes(app: FastifyInstance, service: Service, closing: AbortSignal): void {
  app.setErrorHandler((error: Error, request, reply) => {
    const said = problemOf(error, request.log, request.routeOptions.bodyLimit);
    const status = said.code === "invalid_request" ? 422 : said.status;
    const invalid_fields = said.errors.map(({ path, message }) => ({
      type: "invalid",
      field: path,
      description: message,
    }));
    const { title } = problem(status, said.code, said.detail);
    const body = {
      title,
      detail: said.detail,
      status,
      code: said.code,
      ...(invalid_fields.length > 0 && { invalid_fields }),
    };
    return sendError(reply, status, "application/problem+json", body);
  });
  app.setNotFoundHandler(answerOther);
  predictions(app, service, closing);
  models(app, service);
  files(app, service);
  app.get("/webhooks/default/secret", { schema }, async (request) => {
    const [key] = await service.queue.ask((redis) => signingSecrets(redis, ownerOf(request)));
    return { key };
  });
  app.get("/account", { schema }, async (request) => {
    const owner = ownerOf(request);
    return { type: "user", username: owner, name: owner, github_url: null };
  });
  for (const [method, url, why] of NOT_THERE) {
    app.route({
      method,
      url,
      schema,
      handler: async () => {
        throw notOffered(`${method} ${url}`, why);
      },
    });
  }
}
