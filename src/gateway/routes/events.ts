import { Readable } from "node:stream";
import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import type { Redis } from "ioredis";
import { z } from "zod";
import { BEGINNING, EVENT_ID, isFinal, type JobEvent, readEvents } from "../../jobs/events.ts";
import { recordKey } from "../../jobs/keys.ts";
import type { JobKind } from "../../jobs/kind.ts";
import { ALL_KINDS, kindOf } from "../../jobs/kinds.ts";
import { hasEnded } from "../../jobs/record.ts";
import { findJob } from "../accept.ts";
import { ownerOf } from "../auth.ts";
import { problems } from "../openapi.ts";
import type { Service } from "../parts.ts";
import { jobParams } from "./jobs.ts";

/** A comment this often tells proxies that the connection lives, and the server whether the client does. */
const HEARTBEAT_MS = 15_000;
/** How long it goes without looking, should a message be lost with a connection to Redis. */
const LOOK_AGAIN_MS = 5000;
/** And when Redis has not answered. */
const REDIS_AWAY_MS = 500;
/** What the client is told to wait before it connects again. */
const RETRY_MS = 1000;

/** `GET /v1/generations/{id}/events`, `GET /v1/trainings/{id}/events`: server-sent events (WHATWG HTML, 9.2). */
export const events: FastifyPluginAsyncZod<Service> = async (app, service) => {
  const { config, queue } = service;
  const closing = new AbortController();
  app.addHook("preClose", async () => closing.abort()); // clients connect again, to another gateway

  const streamOf = (kind: JobKind) =>
    app.get(
      `/v1/${kind.name}s/:id/events`,
      {
        schema: {
          operationId: `stream${kind.words.title}Events`,
          summary: `Follow the events of a ${kind.name}`,
          description: `Server-sent events: \`queued\`, \`started\`, ${kind.words.progress}, and \`succeeded\`, \`failed\` or \`canceled\`, after which the server closes. \`data\` is one line of JSON: ${kind.words.data} All of them from the first; with \`Last-Event-ID\` from the one after it. Comments keep the connection open.`,
          tags: [`${kind.name}s`],
          params: jobParams,
          headers: z.looseObject({
            "last-event-id": z
              .string()
              .regex(EVENT_ID, "must be the id of an event")
              .optional()
              .describe("The id of the last event that the client has seen."),
          }),
          response: {
            200: { description: "The events.", content: { "text/event-stream": { schema: z.string() } } },
            204: z.undefined().describe("`Last-Event-ID` is the final event: there is nothing to come back for."),
            ...problems(400, 404, 503),
          },
        },
      },
      async (request, reply) => {
        const { id } = await findJob(service, kind, ownerOf(request), request.params.id);
        const last = request.headers["last-event-id"] ?? BEGINNING;
        if (isFinal(last)) return reply.code(204).send(undefined);
        const gone = new AbortController();
        reply.raw.once("close", () => gone.abort());
        const stream = Readable.from(follow(id, last, AbortSignal.any([gone.signal, closing.signal])), {
          objectMode: false,
        });
        return reply
          .header("Content-Type", "text/event-stream")
          .header("Cache-Control", "no-store")
          .header("Connection", "close") // kept alive, it would keep a gateway that is asked to stop
          .header("X-Accel-Buffering", "no") // nginx would hold them back
          .send(stream as unknown as string);
      },
    );
  for (const kind of ALL_KINDS) streamOf(kind);

  /** The stream's text from after the event `last` to the final one. Redis may go and come back meanwhile. */
  async function* follow(id: string, last: string, signal: AbortSignal): AsyncGenerator<string> {
    yield `retry: ${RETRY_MS}\n\n`;
    let heard = performance.now();
    while (!signal.aborted) {
      using listening = queue.listenForEvents(id); // before the look, so that no event falls between the two
      // The status first: of a job that had ended by then, all events are there.
      const look = (redis: Redis) => Promise.all([redis.hget(recordKey(id), "status"), readEvents(redis, id, last)]);
      const [status, found] = await queue.ask(look).catch(() => [undefined, undefined]);
      for (const event of found ?? []) {
        yield textOf(id, event);
        last = event.id;
        heard = performance.now();
        if (isFinal(last)) return;
      }
      if (found !== undefined && found.length > 0) continue;
      if (status === null || (status !== undefined && hasEnded({ status }))) return; // deleted, or nothing can follow
      await listening.next(signal, found === undefined ? REDIS_AWAY_MS : LOOK_AGAIN_MS);
      if (performance.now() - heard >= HEARTBEAT_MS) {
        yield ": still there\n\n";
        heard = performance.now();
      }
    }
  }

  function textOf(job: string, { id, event, data }: JobEvent): string {
    const kind = kindOf(job);
    const shown =
      event === "progress" ? kind.showStep(job, data, config.PUBLIC_URL) : kind.show(data, config.PUBLIC_URL);
    return `id: ${id}\nevent: ${event}\ndata: ${JSON.stringify(shown)}\n\n`;
  }
};
