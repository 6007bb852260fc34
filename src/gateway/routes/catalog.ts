import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { SHELVES, type ShelfName, type ShelfRoute, Unavailable } from "../../schema/catalog.ts";
import { SCHEDULER_FACTS, SCHEDULERS, Scheduler } from "../../schema/schedulers.ts";
import { problems } from "../openapi.ts";
import { listOf } from "../paging.ts";
import type { Service } from "../parts.ts";

const SCHEDULER_LIST = SCHEDULERS.map((id): Scheduler => {
  const { description, stochastic, evaluations, prediction_types, fields } = SCHEDULER_FACTS[id];
  const lists = { prediction_types: [...prediction_types], fields: [...fields] };
  return { id, object: "scheduler", description, stochastic, evaluations, ...lists };
});

/** A shelf's list, with what lies beside its things but cannot be served. */
const shelfOf = <T extends z.ZodType>(entry: T) =>
  listOf(entry).extend({
    unavailable: z
      .array(Unavailable.pick({ id: true, reason: true }))
      .describe("What MODELS_DIR holds of this kind that cannot be served, and why."),
  });

const list = <T>(data: T[]) => ({ object: "list" as const, data, next_cursor: null });

/** What this installation offers: the models and ControlNets that its workers have, and the schedulers. */
export const catalog: FastifyPluginAsyncZod<Service> = async (app, { fleet }) => {
  const tags = ["catalog"];
  for (const [shelf, { entry, operationId, summary, description }] of Object.entries(SHELVES) as [
    ShelfName,
    ShelfRoute,
  ][]) {
    app.get(
      `/v1/${shelf}`,
      { schema: { operationId, summary, description, tags, response: { 200: shelfOf(entry), ...problems(503) } } },
      async () => {
        const { [shelf]: entries, skipped } = await fleet.catalog();
        const unavailable = skipped.filter((one) => one.shelf === shelf).map(({ id, reason }) => ({ id, reason }));
        return { ...list<Record<string, unknown>>(entries), unavailable };
      },
    );
  }
  app.get(
    "/v1/schedulers",
    {
      schema: {
        operationId: "listSchedulers",
        summary: "List the schedulers",
        description: "What `scheduler` of a request can be, and which of its fields each takes.",
        tags,
        response: { 200: listOf(Scheduler) },
      },
    },
    async () => list(SCHEDULER_LIST),
  );
};
