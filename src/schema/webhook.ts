/** Webhooks: what a request asks for, and the log of what was delivered. */

import { z } from "zod";
import { closed } from "./closed.ts";
import { instant, MAX_URL } from "./fields.ts";

/** What a webhook can tell of a job, in the order in which it happens; only one of the last three does. */
export const WEBHOOK_EVENTS = ["started", "succeeded", "failed", "canceled"] as const;
export const WebhookEvent = z.enum(WEBHOOK_EVENTS);
export type WebhookEvent = z.infer<typeof WebhookEvent>;

/** What is wrong with an address that is none, or not one to be POSTed to. */
function notHttps(input: unknown): string | undefined {
  if (typeof input !== "string") return undefined;
  const url = URL.parse(input);
  if (url === null || !/^[a-z]+:\/\//i.test(input)) return "must be an https: address, and this is no complete URL";
  return `must be an https: address, not ${url.protocol.slice(0, 20)}`;
}

export const Webhook = closed({
  url: z
    .url({ protocol: /^https?$/, error: ({ input }) => notHttps(input) })
    .max(MAX_URL)
    .refine((url) => !/^\w+:\/\/[^/?#]*@/.test(url), "must hold no user name or password")
    .describe(
      "An https: address that is POSTed to; http:, or a private address, only where the installation allows it.",
    )
    .meta({ examples: ["https://example.com/hooks/pictures"] }),
  events: z
    .array(WebhookEvent)
    .min(1)
    .max(WEBHOOK_EVENTS.length)
    .refine((events) => new Set(events).size === events.length, "must name each event once")
    .meta({ uniqueItems: true })
    .default(["succeeded", "failed", "canceled"])
    .describe("What to tell: the start, the end."),
}).describe(
  "Events are POSTed there as {type, timestamp, data: the generation, training or annotation}, signed by Standard Webhooks with the key of GET /v1/webhooks/secret. An event comes at least once; its webhook-id is the same each time. What is not answered by 2xx within 15 s is sent again for more than a day.",
);

const nextAttempt = instant
  .nullable()
  .describe("When it is tried again; null = it is not.")
  .meta({ examples: ["2026-01-31T12:05:00.000Z"] });

/** One try to deliver a webhook. */
export const WebhookAttempt = z.object({
  at: instant.describe("When it was tried."),
  status: z
    .int()
    .nullable()
    .describe("What the endpoint answered; null = it did not answer, or was not asked.")
    .meta({ examples: [200] }),
  error: z
    .string()
    .nullable()
    .describe("Why this was no delivery; null = it was one.")
    .meta({ examples: ["answered 500"] }),
  duration_ms: z
    .number()
    .min(0)
    .describe("How long the answer took.")
    .meta({ examples: [85] }),
  next_attempt_at: nextAttempt,
});
export type WebhookAttempt = z.infer<typeof WebhookAttempt>;

export const WebhookDelivery = z
  .object({
    id: z
      .string()
      .describe("The event's id, sent as webhook-id each time.")
      .meta({ examples: ["evt_3f0a1b2c4d5e6f708192a3b4"] }),
    object: z.literal("webhook_delivery").describe("The type of this object."),
    generation: z
      .string()
      .nullable()
      .describe("The generation that it tells of; null = it tells of another job.")
      .meta({ examples: ["gen_3f0a1b2c4d5e6f708192a3b4"] }),
    training: z
      .string()
      .nullable()
      .describe("The training that it tells of; null = it tells of another job.")
      .meta({ examples: ["trn_3f0a1b2c4d5e6f708192a3b4"] }),
    annotation: z
      .string()
      .nullable()
      .describe("The annotation that it tells of; null = it tells of another job.")
      .meta({ examples: ["ann_3f0a1b2c4d5e6f708192a3b4"] }),
    type: z
      .enum(
        WEBHOOK_EVENTS.flatMap((event) => [`generation.${event}`, `training.${event}`, `annotation.${event}`] as const),
      )
      .describe("What happened."),
    url: z
      .string()
      .describe("Where it is sent.")
      .meta({ examples: ["https://example.com/hooks/pictures"] }),
    status: z.enum(["pending", "delivered", "failed"]).describe("failed = it is not tried again, unless by replay."),
    attempts: z.array(WebhookAttempt).describe("The latest 20, oldest first."),
    next_attempt_at: nextAttempt,
    created_at: instant.describe("When the event happened."),
  })
  .meta({ id: "WebhookDelivery" });
export type WebhookDelivery = z.infer<typeof WebhookDelivery>;
