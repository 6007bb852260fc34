import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { Refused } from "../../errors.ts";
import { closed } from "../../schema/closed.ts";
import { WebhookDelivery } from "../../schema/webhook.ts";
import { deliveriesOf, listDeliveries, replay } from "../../webhooks/outbox.ts";
import { rotateSecret, signingSecrets } from "../../webhooks/signing.ts";
import { ownerOf } from "../auth.ts";
import { problems } from "../openapi.ts";
import { listOf, pageOf, paging } from "../paging.ts";
import type { Service } from "../parts.ts";

/** Deliveries of one of these can be asked for. */
const JOBS = ["generation", "training", "annotation"] as const;

const Secret = z
  .object({
    key: z
      .string()
      .describe("`whsec_` and the key in base64, as Standard Webhooks has it.")
      .meta({ examples: ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] }),
  })
  .meta({ id: "WebhookSecret" });

/** The secret that signs an owner's webhooks, and the log of what was delivered. */
export const webhooks: FastifyPluginAsyncZod<Service> = async (app, { queue }) => {
  const tags = ["deliveries"];

  app.get(
    "/v1/webhooks/secret",
    {
      schema: {
        operationId: "getWebhookSecret",
        summary: "Get the webhook secret",
        description: "It is made when it is first asked for, and kept in Redis as it is: signing needs it.",
        tags,
        response: { 200: Secret, ...problems(503) },
      },
    },
    async (request, reply) => {
      const [key] = await queue.ask((redis) => signingSecrets(redis, ownerOf(request)));
      return reply.header("Cache-Control", "no-store").send({ key });
    },
  );

  app.post(
    "/v1/webhooks/secret/rotate",
    {
      schema: {
        operationId: "rotateWebhookSecret",
        summary: "Rotate the webhook secret",
        description:
          "Webhooks are signed with the old one too for 24 hours. Two sign at most: another rotation within that time ends the oldest at once.",
        tags,
        response: { 200: Secret, ...problems(503) },
      },
    },
    async (request, reply) => {
      const key = await queue.ask((redis) => rotateSecret(redis, ownerOf(request)));
      request.log.info("webhook secret rotated");
      return reply.header("Cache-Control", "no-store").send({ key });
    },
  );

  app.get(
    "/v1/webhooks/deliveries",
    {
      schema: {
        operationId: "listWebhookDeliveries",
        summary: "List webhook deliveries",
        description: "Newest first. Deliveries are kept as long as what they tell of.",
        tags,
        querystring: closed({
          generation: z.string().optional().describe("Only this generation's."),
          training: z.string().optional().describe("Only this training's; not together with `generation`."),
          annotation: z.string().optional().describe("Only this annotation's; not together with the others."),
          ...paging,
        }).refine((query) => JOBS.filter((job) => query[job] !== undefined).length < 2, {
          path: ["training"],
          error: "cannot be given together with generation or annotation",
        }),
        response: { 200: listOf(WebhookDelivery), ...problems(400, 503) },
      },
    },
    async (request) => {
      const { generation, training, annotation, limit, cursor } = request.query;
      const job = generation ?? training ?? annotation;
      const owner = ownerOf(request);
      if (job !== undefined) {
        const data = await queue.ask((redis) => deliveriesOf(redis, owner, job));
        return pageOf(data, undefined); // one for each event at most: a page holds them
      }
      const { data, next } = await queue.ask((redis) => listDeliveries(redis, owner, limit, cursor));
      return pageOf(data, next);
    },
  );

  app.post(
    "/v1/webhooks/deliveries/:id/replay",
    {
      schema: {
        operationId: "replayWebhookDelivery",
        summary: "Replay a webhook delivery",
        description: "Now, whatever became of it, and on the whole schedule if need be. The event's id stays the same.",
        tags,
        params: z.object({ id: z.string().describe("The delivery's, which is the event's.") }),
        response: { 202: WebhookDelivery, ...problems(404, 503) },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const delivery = await queue.ask((redis) => replay(redis, ownerOf(request), id));
      if (delivery === undefined) throw new Refused(404, "not_found", `there is no delivery "${id}"`);
      request.log.info({ delivery: id }, "replayed");
      return reply.code(202).send(delivery);
    },
  );
};
