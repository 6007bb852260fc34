/** What can be asked of a job of any kind: to be shown, listed, stopped and forgotten. */
import type { FastifyInstance, FastifyRequest } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import { Refused } from "../../errors.ts";
import type { BaseRecord, JobKind } from "../../jobs/kind.ts";
import { listRecords } from "../../jobs/list.ts";
import { hasEnded } from "../../jobs/record.ts";
import { removeRecords } from "../../jobs/remove.ts";
import { closed } from "../../schema/closed.ts";
import { JobStatus } from "../../schema/job.ts";
import { findJob } from "../accept.ts";
import { ownerOf } from "../auth.ts";
import { isRepeated } from "../idempotency.ts";
import { problems } from "../openapi.ts";
import { listOf, pageOf, paging } from "../paging.ts";
import type { Service } from "../parts.ts";

export const jobParams = z.object({ id: z.string().describe("As returned when it was made.") });

/** `GET /v1/<kind>s`, `GET /v1/<kind>s/{id}`, `POST …/cancel`, `DELETE …`. @param showOne how one that is asked for alone is shown; absent = as all are */
export function jobRoutes<R extends BaseRecord>(
  instance: FastifyInstance,
  service: Service,
  kind: JobKind<R>,
  showOne?: (record: R, request: FastifyRequest) => Promise<object>,
): void {
  const app = instance.withTypeProvider<ZodTypeProvider>();
  const { queue, storage } = service;
  const { name, view, words } = kind;
  const tags = [`${name}s`];
  const path = `/v1/${name}s`;

  app.get(
    path,
    {
      schema: {
        operationId: `list${words.title}s`,
        summary: `List ${name}s`,
        description: "Newest first.",
        tags,
        querystring: closed({
          status: JobStatus.optional().describe("Only those with this status."),
          ...paging,
        }),
        response: { 200: listOf(view), ...problems(400, 503) },
      },
    },
    async (request) => {
      const { status, limit, cursor } = request.query;
      const { data, next } = await queue.ask((redis) =>
        listRecords(redis, kind, ownerOf(request), { status, limit, before: cursor }),
      );
      return pageOf(
        data.map((record) => kind.show(record, request.addresses)),
        next,
      );
    },
  );

  app.post(
    `${path}/:id/cancel`,
    {
      config: { answersAnew: true },
      schema: {
        operationId: `cancel${words.title}`,
        summary: `Cancel a ${name}`,
        description: `It ends as canceled: at once when it is queued, within ${words.stops} when it is processing.`,
        tags,
        params: jobParams,
        response: { 202: view, ...problems(404, 409, 503) },
      },
    },
    async (request, reply) => {
      const { id } = await findJob(service, kind, ownerOf(request), request.params.id);
      const outcome = isRepeated(request) ? "repeated" : await queue.cancel(id);
      const record = await findJob(service, kind, ownerOf(request), id);
      if (outcome === "ended") throw new Refused(409, "ended", `the ${name} has ended already: ${record.status}`);
      request.log.info({ [name]: id, outcome }, "cancel");
      return reply.code(202).send(kind.show(record, request.addresses));
    },
  );

  app.delete(
    `${path}/:id`,
    {
      schema: {
        operationId: `delete${words.title}`,
        summary: `Delete a ${name}`,
        description: words.deletes,
        tags,
        params: jobParams,
        response: { 204: z.undefined().describe("It is gone."), ...problems(404, 409, 503) },
      },
    },
    async (request, reply) => {
      const record = await findJob(service, kind, ownerOf(request), request.params.id);
      if (!hasEnded(record)) throw new Refused(409, "not_ended", `the ${name} is ${record.status}: cancel it first`);
      const owned = [{ id: record.id, owner: ownerOf(request) }];
      await queue.ask((redis) => removeRecords(redis, storage, owned, false));
      request.log.info({ [name]: record.id }, "deleted");
      return reply.code(204).send(undefined);
    },
  );

  app.get(
    `${path}/:id`,
    {
      schema: {
        operationId: `get${words.title}`,
        summary: `Get a ${name}`,
        description: "Its status, its progress, the request as carried out, and what came of it.",
        tags,
        params: jobParams,
        response: { 200: view, ...problems(404, 503) },
      },
    },
    async (request) => {
      const record = await findJob(service, kind, ownerOf(request), request.params.id);
      return showOne === undefined ? kind.show(record, request.addresses) : showOne(record, request);
    },
  );
}
