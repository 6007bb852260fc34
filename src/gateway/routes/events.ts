import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { Refused } from "../../errors.ts";
import type { Addresses } from "../../jobs/addresses.ts";
import { BEGINNING, EVENT_ID, isFinal, type JobEvent } from "../../jobs/events.ts";
import type { JobKind } from "../../jobs/kind.ts";
import { ALL_KINDS, kindOf } from "../../jobs/kinds.ts";
import { unknownJob } from "../accept.ts";
import { ownerOf } from "../auth.ts";
import { sendEvents, takePlace } from "../event-stream.ts";
import { follow } from "../follow.ts";
import { problems } from "../openapi.ts";
import type { Service } from "../parts.ts";
import { jobParams } from "./jobs.ts";

/** What the client is told to wait before it connects again. */
const RETRY_MS = 1000;

const NO_EVENT = "must be the id of an event";

/** How polyfills of EventSource spell what they have seen in the query: `lastEventId`, `last_event_id`, … */
const IN_QUERY = /^last[-_]?event[-_]?id$/i;

/** The id after which a client goes on: of its header, or of its query. @throws {Refused} */
function lastSeen(header: string | undefined, query: Readonly<Record<string, unknown>>): string {
  const named = Object.keys(query).find((name) => IN_QUERY.test(name));
  const last = header || (named && query[named]); // an empty one is none
  if (!last) return BEGINNING;
  if (typeof last === "string" && EVENT_ID.test(last)) return last;
  throw new Refused(400, "invalid_request", `${named}: ${NO_EVENT}`, [{ path: named ?? "", message: NO_EVENT }]);
}

/** The data of an event: how far it is, or the job as it was then. */
const dataOf = ({ progressView, view, words }: JobKind) =>
  z.union([view, progressView]).meta({ id: `${words.title}Event` });

/** `GET /v1/generations/{id}/events`, `GET /v1/trainings/{id}/events`: server-sent events (WHATWG HTML, 9.2). */
export const events: FastifyPluginAsyncZod<Service> = async (app, service) => {
  const closing = new AbortController();
  app.addHook("preClose", async () => closing.abort()); // clients connect again, to another gateway

  const streamOf = (kind: JobKind) =>
    app.get(
      `/v1/${kind.name}s/:id/events`,
      {
        config: { anyQuery: true }, // polyfills of EventSource append some of their own
        schema: {
          operationId: `stream${kind.words.title}Events`,
          summary: `Follow the events of a ${kind.name}`,
          description: `Server-sent events: \`queued\`, \`started\`, ${kind.words.progress}, and \`succeeded\`, \`failed\` or \`canceled\`, after which the server closes. \`data\` is one line of JSON: ${kind.words.data} All of them from the first; with \`Last-Event-ID\` from the one after it. Comments keep the connection open.`,
          tags: [`${kind.name}s`],
          params: jobParams,
          headers: z.looseObject({
            "last-event-id": z
              .string()
              .regex(new RegExp(`${EVENT_ID.source}|^$`), NO_EVENT)
              .optional()
              .describe("The id of the last event that the client has seen; empty = none."),
          }),
          querystring: z.looseObject({
            lastEventId: z.string().optional().describe("The same, for clients that cannot send a header again."),
          }),
          response: {
            200: {
              description: "The events: of each the schema of its `data`.",
              content: { "text/event-stream": { schema: dataOf(kind) } },
            },
            204: z.undefined().describe("`Last-Event-ID` is the final event: there is nothing to come back for."),
            ...problems(400, 404, 503),
          },
        },
      },
      async (request, reply) => {
        const { id } = request.params;
        if (!(await service.queue.has(kind, id, ownerOf(request)))) throw unknownJob(kind, id);
        const last = lastSeen(request.headers["last-event-id"], request.query);
        if (isFinal(last)) return reply.code(204).send(undefined);
        takePlace(service, ownerOf(request), reply);
        const gone = new AbortController();
        reply.raw.once("close", () => gone.abort());
        const texts = textFrom(id, last, request.addresses, AbortSignal.any([gone.signal, closing.signal]));
        return sendEvents(service, reply, texts);
      },
    );
  for (const kind of ALL_KINDS) streamOf(kind);

  /** The stream's text from after the event `last` to the final one. */
  async function* textFrom(
    id: string,
    last: string,
    addresses: Addresses,
    signal: AbortSignal,
  ): AsyncGenerator<string | Buffer> {
    yield `retry: ${RETRY_MS}\n\n`;
    for await (const event of follow(service, id, last, signal)) {
      yield event === null ? ": still there\n\n" : textOf(id, event, addresses);
    }
  }

  /** Those who follow one job are told the same: it is written once. */
  const written = new WeakMap<JobEvent, { text: Buffer; addresses: Addresses }>();
  function textOf(job: string, told: JobEvent, addresses: Addresses): Buffer {
    const known = written.get(told);
    if (known?.addresses === addresses) return known.text;
    const { id, event, data } = told;
    const kind = kindOf(job);
    const shown = event === "progress" ? kind.showStep(job, data, addresses) : kind.show(data, addresses);
    const text = Buffer.from(`id: ${id}\nevent: ${event}\ndata: ${JSON.stringify(shown)}\n\n`);
    written.set(told, { text, addresses });
    return text;
  }
};
