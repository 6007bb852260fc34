/** Webhooks: what a request asks for, and the log of what was delivered. */

import { z } from "zod";
import { closed } from "./closed.ts";
import { instant, MAX_URL } from "./fields.ts";

/** What a webhook can tell of a generation or a training, in the order in which it happens; only one of the last three does. */
export const WEBHOOK_EVENTS = ["started", "succeeded", "failed", "canceled"] as const;
export const WebhookEvent = z.enum(WEBHOOK_EVENTS);
export type WebhookEvent = z.infer<typeof WebhookEvent>;

export const Webhook = closed({
  url: z
    .url({ protocol: /^https?$/, error: "must be an https: address" })
    .max(MAX_URL)
    .refine((url) => !/^\w+:\/\/[^/?#]*@/.test(url), "must hold no user name or password")
    .describe(
      "An https: address that is POSTed to; http:, or a private address, only where the installation allows it.",
    ),
  events: z
    .array(WebhookEvent)
    .min(1)
    .max(WEBHOOK_EVENTS.length)
    .refine((events) => new Set(events).size === events.length, "must name each event once")
    .meta({ uniqueItems: true })
    .default(["succeeded", "failed", "canceled"])
    .describe("What to tell: the start, the end."),
}).describe(
  "Events are POSTed there as {type, timestamp, data: the generation or training}, signed by Standard Webhooks with the key of GET /v1/webhooks/secret. An event comes at least once; its webhook-id is the same each time. What is not answered by 2xx within 15 s is sent again for more than a day.",
);

/** One try to deliver a webhook. */
export const WebhookAttempt = z.object({
  at: instant,
  status: z.int().nullable().describe("What the endpoint answered; null = it did not answer, or was not asked."),
  error: z.string().nullable().describe("Why this was no delivery."),
  duration_ms: z.number().min(0),
  next_attempt_at: instant.nullable(),
});
export type WebhookAttempt = z.infer<typeof WebhookAttempt>;

export const WebhookDelivery = z
  .object({
    id: z.string().describe("The event's, sent as webhook-id each time."),
    object: z.literal("webhook_delivery"),
    generation: z.string().nullable().describe("The generation that it tells of; null = a training."),
    training: z.string().nullable().describe("The training that it tells of; null = a generation."),
    type: z.enum(WEBHOOK_EVENTS.flatMap((event) => [`generation.${event}`, `training.${event}`] as const)),
    url: z.string(),
    status: z.enum(["pending", "delivered", "failed"]).describe("failed = it is not tried again, unless by replay."),
    attempts: z.array(WebhookAttempt).describe("The latest 20, oldest first."),
    next_attempt_at: instant.nullable(),
    created_at: instant.describe("When the event happened."),
  })
  .meta({ id: "WebhookDelivery" });
export type WebhookDelivery = z.infer<typeof WebhookDelivery>;
