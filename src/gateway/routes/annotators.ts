import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { Refused } from "../../errors.ts";
import { ANNOTATOR_FACTS, AnnotatorEntry } from "../../schema/annotator-entry.ts";
import { type Catalog, Unavailable } from "../../schema/catalog.ts";
import { mapKindOf } from "../../schema/map-kinds.ts";
import { isNetworkAnnotator } from "../../schema/network-annotators.ts";
import { problems } from "../openapi.ts";
import { listOf } from "../paging.ts";
import type { Service } from "../parts.ts";
import { refuseUnavailable, suggestion } from "../unprocessable.ts";

/** What this release knows of each annotator, and what this installation has for it. */
const entriesOf = ({ annotators, controlnets }: Catalog): AnnotatorEntry[] =>
  ANNOTATOR_FACTS.map((facts) => {
    const { id, feeds } = facts;
    const needs_network = isNetworkAnnotator(id);
    const { networks = [], published = [] } = annotators.find((one) => one.id === id) ?? {};
    const reading = controlnets.filter((one) => feeds.some((kind) => kind === mapKindOf(one.id)));
    const available = !needs_network || networks.length > 0;
    return { ...facts, controlnets: reading.map((one) => one.id), needs_network, networks, available, published };
  });

/** `GET /v1/annotators`, `GET /v1/annotators/{id}`. */
export const annotators: FastifyPluginAsyncZod<Service> = async (app, { fleet }) => {
  app.get(
    "/v1/annotators",
    {
      schema: {
        operationId: "listAnnotators",
        summary: "List the annotators",
        description:
          "What `annotator` of a request can be: with its parameters, which kinds of ControlNet read its maps, and for one that runs a network whether its files are here and where they are published.",
        tags: ["catalog"],
        response: {
          200: listOf(AnnotatorEntry).extend({
            unavailable: z
              .array(Unavailable.pick({ id: true, reason: true }))
              .describe("What MODELS_DIR/annotators holds that cannot be used, and why."),
          }),
          ...problems(503),
        },
      },
    },
    async () => {
      const catalog = await fleet.catalog();
      const unavailable = catalog.skipped
        .filter(({ shelf }) => shelf === "annotators")
        .map(({ id, reason }) => ({ id, reason }));
      return { object: "list" as const, data: entriesOf(catalog), next_cursor: null, unavailable };
    },
  );
  app.get(
    "/v1/annotators/:id",
    {
      schema: {
        operationId: "getAnnotator",
        summary: "Get one of the annotators",
        description: "An entry of the list, by its id or by another of its names.",
        tags: ["catalog"],
        params: z.object({ id: z.string().describe("As the list has it.") }),
        response: { 200: AnnotatorEntry, ...problems(404, 422, 503) },
      },
    },
    async ({ params: { id } }) => {
      const catalog = await fleet.catalog();
      const entries = entriesOf(catalog);
      const entry = entries.find((one) => one.id === id || one.other_names.includes(id));
      if (entry !== undefined) return entry;
      refuseUnavailable("annotators", id, catalog, "id");
      const message = `there is no "${id.slice(0, 200)}" among the annotators${suggestion(id, entries)}`;
      throw new Refused(404, "not_found", message);
    },
  );
};
