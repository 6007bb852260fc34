/** What can be asked of a job, whether it is a generation or a training: to be shown, listed, stopped and forgotten. */
import type { FastifyInstance } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import { Refused } from "../../errors.ts";
import type { Kind } from "../../jobs/kinds.ts";
import { listRecords, removeRecord } from "../../jobs/list.ts";
import type { GenerationQueue } from "../../jobs/queue.ts";
import {
  type GenerationRecord,
  hasEnded,
  type RecordOf,
  type Submission,
  type TrainingRecord,
} from "../../jobs/record.ts";
import { present } from "../../jobs/view.ts";
import { type Outbound, OutboundError } from "../../outbound/client.ts";
import { closed } from "../../schema/closed.ts";
import type { Generation } from "../../schema/generation.ts";
import type { GenerationInput } from "../../schema/generation-request.ts";
import { GenerationStatus } from "../../schema/job.ts";
import type { Training } from "../../schema/training.ts";
import type { Parts } from "../app.ts";
import { ownerOf } from "../auth.ts";
import { otherBody } from "../idempotency.ts";
import { problems } from "../openapi.ts";
import { listOf, pageOf, paging } from "../paging.ts";

export const jobParams = z.object({ id: z.string().describe("As returned when it was made.") });

/** @throws {Refused} 404, also when it is another owner's */
export async function findJob<K extends Kind>(
  queue: GenerationQueue,
  kind: K,
  owner: string,
  id: string,
): Promise<RecordOf<K>> {
  const record = await queue.read(kind, id, owner);
  if (record === undefined) throw new Refused(404, "not_found", `there is no ${kind} "${id}"`);
  return record;
}

/** The job of a request that was here before. @throws {Refused} when there is none. */
export async function madeBefore<K extends Kind>(
  submission: Exclude<Submission, { outcome: "accepted" }>,
  { config, queue }: Parts,
  kind: K,
  owner: string,
): Promise<RecordOf<K>> {
  const { outcome } = submission;
  if (outcome === "conflict") throw otherBody();
  if (outcome === "full") {
    throw new Refused(429, "queue_full", `${config.MAX_QUEUE} ${kind}s are waiting already: try again later`);
  }
  if (outcome === "busy") {
    const message = `${config.MAX_JOBS_PER_KEY} ${kind}s of this key are queued or running: try again later`;
    throw new Refused(429, "too_many_jobs", message);
  }
  if (outcome === "taken") {
    const message = "another training of this name waits or runs";
    throw new Refused(409, "name_taken", message, [{ path: "name", message }]);
  }
  const record = await queue.read(kind, submission.id, owner);
  if (record !== undefined) return record;
  throw new Refused(409, "idempotency_key_reused", "what this Idempotency-Key has made is deleted by now");
}

/** @throws {Refused} when nothing may be sent there. What its name stands for is looked at again at each attempt. */
export async function checkWebhook(webhook: GenerationInput["webhook"], outbound: Outbound): Promise<void> {
  if (webhook === null) return;
  try {
    await outbound.check(webhook.url);
  } catch (error) {
    if (!(error instanceof OutboundError)) throw error;
    throw new Refused(422, "address_refused", error.message, [{ path: "webhook.url", message: error.message }]);
  }
}

/** How a kind of job is spoken of in the OpenAPI document. */
interface Spoken {
  kind: Kind;
  schema: z.ZodType<Generation | Training>;
  /** Within which time one that runs stops. */
  stops: string;
  /** What goes with it when it is deleted. */
  deletes: string;
}

/** `GET /v1/<kind>s`, `GET /v1/<kind>s/{id}`, `POST …/cancel`, `DELETE …`. */
export function jobRoutes(instance: FastifyInstance, parts: Parts, { kind, schema, stops, deletes }: Spoken): void {
  const app = instance.withTypeProvider<ZodTypeProvider>();
  const { config, queue, storage } = parts;
  const tags = [`${kind}s`];
  const path = `/v1/${kind}s`;
  const name = kind === "training" ? "Training" : "Generation";
  const shown = (record: GenerationRecord | TrainingRecord) => present(record, config.PUBLIC_URL);

  app.get(
    path,
    {
      schema: {
        operationId: `list${name}s`,
        summary: `The ${kind}s that there are`,
        description: "Newest first.",
        tags,
        querystring: closed({
          status: GenerationStatus.optional().describe("Only those with this status."),
          ...paging,
        }),
        response: { 200: listOf(schema), ...problems(400, 503) },
      },
    },
    async (request) => {
      const { status, limit, cursor } = request.query;
      const { data, next } = await queue.ask((redis) =>
        listRecords(redis, kind, ownerOf(request), { status, limit, before: cursor }),
      );
      return pageOf(data.map(shown), next);
    },
  );

  app.post(
    `${path}/:id/cancel`,
    {
      schema: {
        operationId: `cancel${name}`,
        summary: `Stop a ${kind}`,
        description: `At once when it is queued, within ${stops} when it is processing: it then ends as canceled.`,
        tags,
        params: jobParams,
        response: { 202: schema, ...problems(404, 409, 503) },
      },
    },
    async (request, reply) => {
      const { id } = await findJob(queue, kind, ownerOf(request), request.params.id);
      const outcome = await queue.cancel(id);
      const record = await findJob(queue, kind, ownerOf(request), id);
      if (outcome === "ended") throw new Refused(409, "ended", `the ${kind} has ended already: ${record.status}`);
      request.log.info({ [kind]: id, outcome }, "cancel");
      return reply.code(202).send(shown(record));
    },
  );

  app.delete(
    `${path}/:id`,
    {
      schema: {
        operationId: `delete${name}`,
        summary: `Forget a ${kind} that has ended`,
        description: deletes,
        tags,
        params: jobParams,
        response: { 204: z.undefined().describe("It is gone."), ...problems(404, 409, 503) },
      },
    },
    async (request, reply) => {
      const record = await findJob(queue, kind, ownerOf(request), request.params.id);
      if (!hasEnded(record)) throw new Refused(409, "not_ended", `the ${kind} is ${record.status}: cancel it first`);
      await queue.ask((redis) => removeRecord(redis, storage, ownerOf(request), record.id));
      request.log.info({ [kind]: record.id }, "deleted");
      return reply.code(204).send(undefined);
    },
  );

  app.get(
    `${path}/:id`,
    {
      schema: {
        operationId: `get${name}`,
        summary: `How a ${kind} stands`,
        tags,
        params: jobParams,
        response: { 200: schema, ...problems(404, 503) },
      },
    },
    async (request) => shown(await findJob(queue, kind, ownerOf(request), request.params.id)),
  );
}
