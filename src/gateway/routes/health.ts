import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import type { Parts } from "../app.ts";
import { problems } from "../openapi.ts";

/** `/health`: this process answers. `/ready`: the service is able to take work. */
export const health: FastifyPluginAsyncZod<Parts> = async (app, { queue }) => {
  app.get(
    "/health",
    {
      logLevel: "warn",
      schema: {
        operationId: "health",
        summary: "Is the gateway alive?",
        tags: ["service"],
        response: { 200: z.object({ status: z.literal("ok") }) },
      },
    },
    async () => ({ status: "ok" as const }),
  );

  app.get(
    "/ready",
    {
      logLevel: "error",
      schema: {
        operationId: "ready",
        summary: "Can the service take work?",
        tags: ["service"],
        response: { 200: z.object({ status: z.literal("ready") }), ...problems(503) },
      },
    },
    async () => {
      await queue.ready();
      return { status: "ready" as const };
    },
  );
};
