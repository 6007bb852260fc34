import { randomUUID } from "node:crypto";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { Refused } from "../errors.ts";
import { type Outbound, OutboundError } from "../outbound.ts";
import { present } from "../present.ts";
import { type GenerationRecord, hasEnded } from "../queue.ts";
import { CONTENT_TYPES, Generation, GenerationInput, MAX_WAIT_SECONDS } from "../schema.ts";
import { inputKey, outputKey } from "../storage.ts";
import type { Parts } from "./app.ts";
import type { ImagesIn } from "./images.ts";
import { problems } from "./openapi.ts";
import { ownerOf } from "./owner.ts";
import { resolve } from "./resolve.ts";

type WithImages = Parts & { imagesIn: ImagesIn };

export const generations: FastifyPluginAsyncZod<WithImages> = async (app, options) => {
  const { config, queue, storage, outbound, imagesIn } = options;
  const tags = ["generations"];
  const closing = new AbortController();
  app.addHook("preClose", async () => closing.abort()); // whoever waits is answered as it stands

  app.post(
    "/v1/generations",
    {
      schema: {
        operationId: "createGeneration",
        summary: "Make pictures",
        description: `\`Prefer: wait=N\` holds the answer until the generation has ended, for N seconds at most (more than ${MAX_WAIT_SECONDS} counts as ${MAX_WAIT_SECONDS}).`,
        tags,
        headers: z.looseObject({
          prefer: z.string().optional().describe("`wait=N`: answer when it has ended, or after N seconds."),
        }),
        body: GenerationInput,
        response: {
          200: Generation.describe("It has ended within the time of `Prefer: wait`: succeeded, failed or canceled."),
          202: Generation.describe("Accepted; it will end as succeeded, failed or canceled."),
          ...problems(400, 413, 422, 503),
        },
      },
    },
    async (request, reply) => {
      const id = `gen_${randomUUID().replaceAll("-", "")}`;
      const owner = ownerOf(request);
      await checkWebhook(request.body.webhook, outbound);
      const resolved = await resolve(request.body, await queue.catalog(), config, imagesIn, owner);
      for (const [hash, bytes] of resolved.images) await storage.put(inputKey(id, hash), bytes);
      const submitted = await queue.submit(id, resolved.request, owner);
      request.log.info({ generation: id, model: resolved.request.model }, "accepted");

      reply.header("Location", `${config.PUBLIC_URL}/v1/generations/${id}`);
      const wait = preferredWait(request.headers.prefer);
      if (wait !== undefined) reply.header("Preference-Applied", `wait=${wait}`);
      if (wait === undefined) return reply.code(202).send(present(submitted, config.PUBLIC_URL));
      const signal = AbortSignal.any([closing.signal, goneSignal(reply), AbortSignal.timeout(wait * 1000)]);
      const record = await queue.readWhenEnded(submitted, owner, signal);
      return reply.code(hasEnded(record) ? 200 : 202).send(present(record, config.PUBLIC_URL));
    },
  );

  const params = z.object({ id: z.string().describe("As returned when it was made.") });

  async function find(request: FastifyRequest, id: string): Promise<GenerationRecord> {
    const record = await queue.read(id, ownerOf(request));
    if (record === undefined) throw new Refused(404, "not_found", `there is no generation "${id}"`);
    return record;
  }

  app.get(
    "/v1/generations/:id",
    {
      schema: {
        operationId: "getGeneration",
        summary: "How a generation stands",
        tags,
        params,
        response: { 200: Generation, ...problems(404, 503) },
      },
    },
    async (request) => present(await find(request, request.params.id), config.PUBLIC_URL),
  );

  app.get(
    "/v1/generations/:id/images/:n",
    {
      schema: {
        operationId: "getGenerationImage",
        summary: "A picture",
        tags,
        params: params.extend({ n: z.string().describe("Which picture, from 0.") }),
        response: {
          200: {
            description: "The picture, in the request's output_format.",
            content: Object.fromEntries(Object.values(CONTENT_TYPES).map((type) => [type, { schema: z.unknown() }])),
          },
          304: z.undefined().describe("The client has it already, by `If-None-Match`."),
          ...problems(404, 503),
        },
      },
    },
    async (request, reply) => {
      const { id, n } = request.params;
      const record = await find(request, id);
      const image = /^\d+$/.test(n) ? record.images[Number(n)] : undefined;
      if (image === undefined) {
        const count = record.images.length;
        throw new Refused(404, "not_found", `the generation "${id}" is ${record.status} and has ${count} images`);
      }
      const etag = `"${image.sha256}"`;
      reply.header("ETag", etag).header("Cache-Control", "private, immutable");
      if (namesTag(request.headers["if-none-match"], etag)) return reply.code(304).send(undefined);
      return reply.type(image.content_type).send(await storage.get(outputKey(id, Number(n))));
    },
  );
};

/** @throws {Refused} when nothing may be sent there. What its name stands for is looked at again at each attempt. */
async function checkWebhook(webhook: GenerationInput["webhook"], outbound: Outbound): Promise<void> {
  if (webhook === null) return;
  try {
    await outbound.check(webhook.url);
  } catch (error) {
    if (!(error instanceof OutboundError)) throw error;
    throw new Refused(422, "address_refused", error.message, [{ path: "webhook.url", message: error.message }]);
  }
}

/** Seconds of `Prefer: wait=N` (RFC 7240); a bare `wait` is the longest. What it does not understand it ignores. */
function preferredWait(prefer: string | undefined): number | undefined {
  const match = /(?:^|[,;\s])wait(?:\s*=\s*"?(\d+)"?)?\s*(?:$|[,;])/i.exec(prefer ?? "");
  return match === null ? undefined : Math.min(Number(match[1] ?? MAX_WAIT_SECONDS), MAX_WAIT_SECONDS);
}

/** Aborts when the client goes before it is answered. */
function goneSignal(reply: FastifyReply): AbortSignal {
  const gone = new AbortController();
  reply.raw.once("close", () => gone.abort());
  return gone.signal;
}

/** Whether an `If-None-Match` header names the tag (RFC 9110 13.1.2: weak comparison). */
function namesTag(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false;
  return header.split(",").some((tag) => ["*", etag].includes(tag.trim().replace(/^W\//, "")));
}
