import { randomUUID } from "node:crypto";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { Refused } from "../errors.ts";
import { type Outbound, OutboundError } from "../outbound.ts";
import { present } from "../present.ts";
import { type GenerationRecord, hasEnded, type Idempotency, type Submission } from "../record.ts";
import { expectFiles, listRecords, removeRecord } from "../records.ts";
import { CONTENT_TYPES, Generation, GenerationInput, GenerationStatus, MAX_WAIT_SECONDS } from "../schema.ts";
import { generationFolder, inputKey, outputKey } from "../storage.ts";
import type { Parts } from "./app.ts";
import { idempotencyHeader, idempotencyOf, otherBody } from "./idempotency.ts";
import type { ImagesIn } from "./images.ts";
import { listOf, problems } from "./openapi.ts";
import { ownerOf } from "./owner.ts";
import { resolve } from "./resolve.ts";

/** How long it may take from the first image stored to the record: after that the images are taken for orphans. */
const ACCEPTED_WITHIN_MS = 600_000;

type WithImages = Parts & { imagesIn: ImagesIn };

export const generations: FastifyPluginAsyncZod<WithImages> = async (app, options) => {
  const { config, queue, storage, outbound, imagesIn } = options;
  const tags = ["generations"];
  const closing = new AbortController();
  app.addHook("preClose", async () => closing.abort()); // whoever waits is answered as it stands

  app.post(
    "/v1/generations",
    {
      config: { ownKeys: true },
      schema: {
        operationId: "createGeneration",
        summary: "Make pictures",
        description: `\`Prefer: wait=N\` holds the answer until the generation has ended, for N seconds at most (more than ${MAX_WAIT_SECONDS} counts as ${MAX_WAIT_SECONDS}).`,
        tags,
        headers: z.looseObject({
          ...idempotencyHeader,
          prefer: z.string().optional().describe("`wait=N`: answer when it has ended, or after N seconds."),
        }),
        body: GenerationInput,
        response: {
          200: Generation.describe("It has ended within the time of `Prefer: wait`: succeeded, failed or canceled."),
          202: Generation.describe("Accepted; it will end as succeeded, failed or canceled."),
          ...problems(400, 409, 413, 422, 429, 503),
        },
      },
    },
    async (request, reply) => {
      const owner = ownerOf(request);
      const submitted = await accept(request, owner, idempotencyOf(request));
      reply.header("Location", `${config.PUBLIC_URL}/v1/generations/${submitted.id}`);
      const wait = preferredWait(request.headers.prefer);
      if (wait !== undefined) reply.header("Preference-Applied", `wait=${wait}`);
      if (wait === undefined) return reply.code(202).send(present(submitted, config.PUBLIC_URL));
      const signal = AbortSignal.any([closing.signal, goneSignal(reply), AbortSignal.timeout(wait * 1000)]);
      const record = await queue.readWhenEnded(submitted, owner, signal);
      if (closing.signal.aborted) reply.header("Connection", "close"); // kept alive, it would keep the gateway
      return reply.code(hasEnded(record) ? 200 : 202).send(present(record, config.PUBLIC_URL));
    },
  );

  /** Accepts a new generation, or finds the one that the idempotency key has made. */
  async function accept(
    { body, log }: FastifyRequest<{ Body: GenerationInput }>,
    owner: string,
    idempotency: Idempotency | undefined,
  ): Promise<GenerationRecord> {
    const known = idempotency && (await queue.remembered(owner, idempotency));
    if (known !== undefined) return again(known, owner);
    const id = `gen_${randomUUID().replaceAll("-", "")}`;
    await checkWebhook(body.webhook, outbound);
    const { request, images } = await resolve(body, await queue.catalog(), config, imagesIn, owner);
    if (images.size > 0) await queue.ask((redis) => expectFiles(redis, id, ACCEPTED_WITHIN_MS));
    for (const [hash, bytes] of images) await storage.put(inputKey(id, hash), bytes);
    const terms = { idempotency, mostQueued: config.MAX_QUEUE, mostOfOwner: config.MAX_JOBS_PER_KEY };
    const submission = await queue.submit(id, request, owner, terms);
    if (submission.outcome !== "accepted") {
      if (images.size > 0) await storage.removeFolder(generationFolder(id));
      return again(submission, owner);
    }
    log.info({ generation: id, model: request.model }, "accepted");
    return submission.record;
  }

  /** The generation of a request that was here before. @throws {Refused} when there is none. */
  async function again(
    submission: Exclude<Submission, { outcome: "accepted" }>,
    owner: string,
  ): Promise<GenerationRecord> {
    const { outcome } = submission;
    if (outcome === "conflict") throw otherBody();
    if (outcome === "full") {
      throw new Refused(429, "queue_full", `${config.MAX_QUEUE} generations are waiting already: try again later`);
    }
    if (outcome === "busy") {
      const message = `${config.MAX_JOBS_PER_KEY} generations of this key are queued or running: try again later`;
      throw new Refused(429, "too_many_jobs", message);
    }
    const record = await queue.read(submission.id, owner);
    if (record !== undefined) return record;
    throw new Refused(409, "idempotency_key_reused", "what this Idempotency-Key has made is deleted by now");
  }
  const params = z.object({ id: z.string().describe("As returned when it was made.") });

  async function find(request: FastifyRequest, id: string): Promise<GenerationRecord> {
    const record = await queue.read(id, ownerOf(request));
    if (record === undefined) throw new Refused(404, "not_found", `there is no generation "${id}"`);
    return record;
  }

  app.get(
    "/v1/generations",
    {
      schema: {
        operationId: "listGenerations",
        summary: "The generations that there are",
        description: "Newest first.",
        tags,
        querystring: z.object({
          status: GenerationStatus.optional().describe("Only those with this status."),
          limit: z.coerce.number().int().min(1).max(100).default(20),
          cursor: z
            .string()
            .regex(/^\d{1,15}$/, "must be a next_cursor")
            .optional()
            .describe("`next_cursor` of the page before."),
        }),
        response: { 200: listOf(Generation), ...problems(400, 503) },
      },
    },
    async (request) => {
      const { status, limit, cursor } = request.query;
      const before = cursor === undefined ? undefined : Number(cursor);
      const { data, next } = await queue.ask((redis) =>
        listRecords(redis, ownerOf(request), { status, limit, before }),
      );
      return {
        object: "list" as const,
        data: data.map((record) => present(record, config.PUBLIC_URL)),
        next_cursor: next === undefined ? null : String(next),
      };
    },
  );

  app.post(
    "/v1/generations/:id/cancel",
    {
      schema: {
        operationId: "cancelGeneration",
        summary: "Stop a generation",
        description: "At once when it is queued, within one step when it is processing: it then ends as canceled.",
        tags,
        params,
        response: { 202: Generation, ...problems(404, 409, 503) },
      },
    },
    async (request, reply) => {
      const { id } = await find(request, request.params.id);
      const outcome = await queue.cancel(id);
      const record = await find(request, id);
      if (outcome === "ended") throw new Refused(409, "ended", `the generation has ended already: ${record.status}`);
      request.log.info({ generation: id, outcome }, "cancel");
      return reply.code(202).send(present(record, config.PUBLIC_URL));
    },
  );

  app.delete(
    "/v1/generations/:id",
    {
      schema: {
        operationId: "deleteGeneration",
        summary: "Forget a generation that has ended",
        description:
          "With its pictures, its control images, its events and its webhook deliveries, also those that wait.",
        tags,
        params,
        response: { 204: z.undefined().describe("It is gone."), ...problems(404, 409, 503) },
      },
    },
    async (request, reply) => {
      const record = await find(request, request.params.id);
      if (!hasEnded(record)) throw new Refused(409, "not_ended", `the generation is ${record.status}: cancel it first`);
      await queue.ask((redis) => removeRecord(redis, storage, ownerOf(request), record.id));
      request.log.info({ generation: record.id }, "deleted");
      return reply.code(204).send(undefined);
    },
  );

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
      return reply.type(image.content_type).send(await storage.get(outputKey(id, image.sha256)));
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
