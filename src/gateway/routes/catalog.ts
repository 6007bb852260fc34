import type { FastifyInstance, FastifyRequest } from "fastify";
import type { FastifyPluginAsyncZod, ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import { Refused } from "../../errors.ts";
import { type Catalog, SHELF_ROUTES, type ShelfName, type ShelfRoute, Unavailable } from "../../schema/catalog.ts";
import { SCHEDULER_FACTS, SCHEDULERS, Scheduler } from "../../schema/schedulers.ts";
import { safetyOf } from "../auth.ts";
import { problems } from "../openapi.ts";
import { listOf } from "../paging.ts";
import type { Service } from "../parts.ts";
import { withSafety } from "../safety.ts";
import { refuseUnavailable, suggestion } from "../unprocessable.ts";

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
  for (const [shelf, { entry, operationId, summary, description }] of Object.entries(SHELF_ROUTES) as [
    ShelfName,
    ShelfRoute,
  ][]) {
    app.get(
      `/v1/${shelf}`,
      { schema: { operationId, summary, description, tags, response: { 200: shelfOf(entry), ...problems(503) } } },
      async (request) => {
        const { skipped, ...catalog } = await fleet.catalog();
        const entries = entriesFor(catalog, shelf, request);
        const unavailable = skipped.filter((one) => one.shelf === shelf).map(({ id, reason }) => ({ id, reason }));
        return { ...list<Record<string, unknown>>(entries), unavailable };
      },
    );
    const find = async (id: string, request: FastifyRequest): Promise<Record<string, unknown>> => {
      const catalog = await fleet.catalog();
      return { ...entryOf(shelf, id, entriesFor(catalog, shelf, request), catalog) };
    };
    oneOf(app, `/v1/${shelf}`, { entry, operationId, summary }, find);
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
  const shown = { entry: Scheduler, operationId: "listSchedulers", summary: "List the schedulers" };
  oneOf(app, "/v1/schedulers", shown, async (id) => ({ ...entryOf("schedulers", id, SCHEDULER_LIST) }));
};

/** A shelf's entries as who asks is served. */
function entriesFor(catalog: Pick<Catalog, ShelfName>, shelf: ShelfName, request: FastifyRequest): { id: string }[] {
  return shelf === "models" ? catalog.models.map((one) => withSafety(one, safetyOf(request))) : catalog[shelf];
}

/** @throws {Refused} 404; 422 with the reason when it is there and cannot be served */
function entryOf<T extends { id: string }>(shelf: string, id: string, entries: readonly T[], catalog?: Catalog): T {
  const entry = entries.find((one) => one.id === id);
  if (entry !== undefined) return entry;
  if (catalog !== undefined) refuseUnavailable(shelf as ShelfName, id, catalog, "id");
  const message = `there is no "${id.slice(0, 200)}" among the ${shelf}${suggestion(id, [...entries])}`;
  throw new Refused(404, "not_found", message);
}

/** `GET <path>/{id}`: one entry of a list. Ids of what lies in sub-folders have slashes, written as they are or as %2F. */
function oneOf(
  app: FastifyInstance,
  path: string,
  { entry, operationId, summary }: Pick<ShelfRoute, "entry" | "operationId" | "summary">,
  find: (id: string, request: FastifyRequest) => Promise<Record<string, unknown>>,
): void {
  const typed = app.withTypeProvider<ZodTypeProvider>();
  const schema = {
    operationId: operationId.replace(/^list(.*)s$/, "get$1"),
    summary: `${summary.replace(/^List/, "Get one of")}`,
    description: "An entry of the list, by its id.",
    tags: ["catalog"],
    params: z.object({ id: z.string().describe("As the list has it.") }),
    response: { 200: entry, ...problems(404, 422, 503) },
  };
  typed.get(`${path}/:id`, { schema }, (request) => find(request.params.id, request));
  app.get<{ Params: { "*": string } }>(`${path}/*`, { schema: { hide: true } }, (request) =>
    find(request.params["*"], request),
  );
}
