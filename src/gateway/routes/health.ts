import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { faultsOf } from "../../redis/promises.ts";
import { problems } from "../openapi.ts";
import type { Service } from "../parts.ts";

/** `/health`: this process answers. `/ready`: the service is able to take work. */
export const health: FastifyPluginAsyncZod<Service> = async (app, { fleet, queue }) => {
  app.get(
    "/health",
    {
      logLevel: "warn",
      config: { open: true, anyQuery: true },
      schema: {
        operationId: "getHealth",
        summary: "Check that the gateway is alive",
        description: "Answers as long as this process does: for a liveness probe.",
        tags: ["service"],
        response: { 200: z.object({ status: z.literal("ok").describe("It is alive.") }).meta({ id: "Health" }) },
      },
    },
    async () => ({ status: "ok" as const }),
  );

  app.get(
    "/ready",
    {
      logLevel: "error",
      config: { open: true, anyQuery: true },
      schema: {
        operationId: "getReadiness",
        summary: "Check that the service can take work",
        description: "Redis answers and a worker offers a model: for a readiness probe.",
        tags: ["service"],
        response: {
          200: z
            .object({
              status: z.literal("ready").describe("It can."),
              unavailable: z
                .int()
                .describe("How many things in MODELS_DIR cannot be served: GET /v1/models says why.")
                .meta({ examples: [0] }),
              detail: z
                .string()
                .nullable()
                .describe(
                  "What an operator should know of all the same, such as a Redis that keeps no file; null = nothing.",
                )
                .meta({ examples: [null] }),
            })
            .meta({ id: "Readiness" }),
          ...problems(503),
        },
      },
    },
    async () => {
      const { unavailable } = await fleet.ready();
      const faults = await queue.ask(faultsOf);
      return { status: "ready" as const, unavailable, detail: faults.length > 0 ? faults.join("; ") : null };
    },
  );
};
