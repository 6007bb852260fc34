import type { FastifyReply, FastifyRequest } from "fastify";
import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { Refused } from "../../errors.ts";
import { newGenerationId } from "../../jobs/kinds.ts";
import { ACCEPTED_WITHIN_MS, expectFiles } from "../../jobs/list.ts";
import { type GenerationRecord, hasEnded, type Idempotency } from "../../jobs/record.ts";
import { present } from "../../jobs/view.ts";
import { CONTENT_TYPES, Generation, GenerationInput, MAX_WAIT_SECONDS } from "../../schema/schema.ts";
import { inputKey, jobFolder, outputKey } from "../../storage/keys.ts";
import type { Parts } from "../app.ts";
import { ownerOf } from "../auth.ts";
import { idempotencyHeader, idempotencyOf } from "../idempotency.ts";
import type { ImagesIn } from "../images-in.ts";
import { problems } from "../openapi.ts";
import { resolve } from "../resolve.ts";
import { checkWebhook, findJob, jobParams, jobRoutes, madeBefore } from "./jobs.ts";

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
      const signal = untilNoLonger(reply, closing.signal, wait);
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
    if (known !== undefined) return madeBefore(known, options, "generation", owner);
    const id = newGenerationId();
    await checkWebhook(body.webhook, outbound);
    const { request, images } = await resolve(body, await queue.catalog(), config, imagesIn, owner);
    if (images.size > 0) await queue.ask((redis) => expectFiles(redis, id, ACCEPTED_WITHIN_MS));
    for (const [hash, bytes] of images) await storage.put(inputKey(id, hash), bytes);
    const terms = { idempotency, mostQueued: config.MAX_QUEUE, mostOfOwner: config.MAX_JOBS_PER_KEY };
    const submission = await queue.submit(id, request, owner, terms);
    if (submission.outcome !== "accepted") {
      if (images.size > 0) await storage.removeFolder(jobFolder(id));
      return madeBefore(submission, options, "generation", owner);
    }
    log.info({ generation: id, model: request.model }, "accepted");
    return submission.record as GenerationRecord;
  }

  jobRoutes(app, options, {
    kind: "generation",
    schema: Generation,
    stops: "one step",
    deletes: "With its pictures, its control images, its events and its webhook deliveries, also those that wait.",
  });

  app.get(
    "/v1/generations/:id/images/:n",
    {
      schema: {
        operationId: "getGenerationImage",
        summary: "A picture",
        tags,
        params: jobParams.extend({ n: z.string().describe("Which picture, from 0.") }),
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
      const record = await findJob(queue, "generation", ownerOf(request), id);
      const image = /^\d+$/.test(n) ? record.images[Number(n)] : undefined;
      if (image === undefined) {
        const count = record.images.length;
        throw new Refused(404, "not_found", `the generation "${id}" is ${record.status} and has ${count} images`);
      }
      const etag = `"${image.sha256}"`;
      const known = namesTag(request.headers["if-none-match"], etag);
      const bytes = known ? undefined : await storage.find(outputKey(id, image.sha256));
      if (!known && bytes === undefined) throw new Refused(404, "not_found", `there is no generation "${id}" any more`);
      reply.header("ETag", etag).header("Cache-Control", "private, immutable");
      if (known) return reply.code(304).send(undefined);
      return reply.type(image.content_type).send(bytes);
    },
  );
};

/** Seconds of `Prefer: wait=N` (RFC 7240); a bare `wait` is the longest. What it does not understand it ignores. */
function preferredWait(prefer: string | undefined): number | undefined {
  const match = /(?:^|[,;\s])wait(?:\s*=\s*"?(\d+)"?)?\s*(?:$|[,;])/i.exec(prefer ?? "");
  return match === null ? undefined : Math.min(Number(match[1] ?? MAX_WAIT_SECONDS), MAX_WAIT_SECONDS);
}

/**
 * Aborts when the answer is sent or its client has gone, when the gateway closes, or after so many seconds. Not
 * AbortSignal.any, which never lets go of a timeout that does not come (Node 24).
 */
function untilNoLonger(reply: FastifyReply, closing: AbortSignal, seconds: number): AbortSignal {
  const over = new AbortController();
  const end = () => over.abort();
  const timer = setTimeout(end, seconds * 1000);
  closing.addEventListener("abort", end);
  if (closing.aborted) end();
  reply.raw.once("close", () => {
    clearTimeout(timer);
    closing.removeEventListener("abort", end);
    end();
  });
  return over.signal;
}

/** Whether an `If-None-Match` header names the tag (RFC 9110 13.1.2: weak comparison). */
function namesTag(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false;
  return header.split(",").some((tag) => ["*", etag].includes(tag.trim().replace(/^W\//, "")));
}
