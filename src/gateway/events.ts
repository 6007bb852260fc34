import { Readable } from "node:stream";
import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { Refused } from "../errors.ts";
import { BEGINNING, EVENT_ID, type GenerationEvent, isFinal, readEvents } from "../events.ts";
import { present } from "../present.ts";
import type { Parts } from "./app.ts";
import { problems } from "./openapi.ts";
import { ownerOf } from "./owner.ts";

/** A comment this often tells proxies that the connection lives, and the server whether the client does. */
const HEARTBEAT_MS = 15_000;
/** How long it goes without looking, should a message be lost with a connection to Redis. */
const LOOK_AGAIN_MS = 5000;
/** And when Redis has not answered. */
const REDIS_AWAY_MS = 500;
/** What the client is told to wait before it connects again. */
const RETRY_MS = 1000;

/** `GET /v1/generations/{id}/events`: server-sent events (WHATWG HTML, 9.2). */
export const events: FastifyPluginAsyncZod<Parts> = async (app, { config, queue }) => {
  const closing = new AbortController();
  app.addHook("preClose", async () => closing.abort()); // clients connect again, to another gateway

  app.get(
    "/v1/generations/:id/events",
    {
      schema: {
        operationId: "streamGenerationEvents",
        summary: "What happens to a generation, as it happens",
        description:
          "Server-sent events: `queued`, `started`, one `progress` for each evaluation of the networks, and `succeeded`, `failed` or `canceled`, after which the server closes. `data` is one line of JSON: `{step, total, preview?}` of a progress, else the generation as it was then; `preview` is a data: URI of a JPEG, when the request asks for it. All of them from the first; with `Last-Event-ID` from the one after it. Comments keep the connection open.",
        tags: ["generations"],
        params: z.object({ id: z.string().describe("As returned when it was made.") }),
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
      const { id } = request.params;
      const record = await queue.read(id, ownerOf(request));
      if (record === undefined) throw new Refused(404, "not_found", `there is no generation "${id}"`);
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

  /** The stream's text from after the event `last` to the final one. Redis may go and come back meanwhile. */
  async function* follow(id: string, last: string, signal: AbortSignal): AsyncGenerator<string> {
    yield `retry: ${RETRY_MS}\n\n`;
    let heard = performance.now();
    while (!signal.aborted) {
      using listening = queue.listenForEvents(id); // before the look, so that no event falls between the two
      const found = await queue.ask((redis) => readEvents(redis, id, last)).catch(() => undefined);
      for (const event of found ?? []) {
        yield textOf(event);
        last = event.id;
        heard = performance.now();
        if (isFinal(last)) return;
      }
      if (found !== undefined && found.length > 0) continue;
      await listening.next(signal, found === undefined ? REDIS_AWAY_MS : LOOK_AGAIN_MS);
      if (performance.now() - heard >= HEARTBEAT_MS) {
        yield ": still there\n\n";
        heard = performance.now();
      }
    }
  }

  function textOf({ id, event, data }: GenerationEvent): string {
    const shown = "request" in data ? present(data, config.PUBLIC_URL) : data;
    return `id: ${id}\nevent: ${event}\ndata: ${JSON.stringify(shown)}\n\n`;
  }
};
