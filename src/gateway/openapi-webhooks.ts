/** What the OpenAPI document says of webhooks: the requests that the service itself makes (src/webhooks/outbox.ts, workers/deliver/main.ts). */
import type { JobKind } from "../jobs/kind.ts";
import { ALL_KINDS } from "../jobs/kinds.ts";
import { WEBHOOK_EVENTS } from "../schema/webhook.ts";

const headerOf = (name: string, description: string) => ({
  name,
  in: "header" as const,
  required: true,
  description,
  schema: { type: "string" as const },
});

const bodyName = (title: string, event: string) => `${title}${event[0]!.toUpperCase()}${event.slice(1)}Webhook`;

/** The body of what is POSTed when a job comes to `event`. */
const bodyOf = ({ name, words: { title } }: JobKind, event: string) => ({
  type: "object" as const,
  properties: {
    type: { type: "string" as const, const: `${name}.${event}`, description: "What happened." },
    timestamp: {
      type: "string" as const,
      format: "date-time",
      description: "When it happened.",
      examples: ["2026-01-31T12:00:09.000Z"],
    },
    data: { $ref: `#/components/schemas/${title}`, description: `The ${name} as it was then.` },
  },
  required: ["type", "timestamp", "data"],
});

const events = ALL_KINDS.flatMap((kind) => WEBHOOK_EVENTS.map((event) => [kind, event] as const));
const bodies = events.map(([kind, event]) => [bodyName(kind.words.title, event), bodyOf(kind, event)] as const);

/** The bodies by their names, and any of them: for who receives all at one address. */
export const webhookSchemas = {
  ...Object.fromEntries(bodies),
  WebhookPayload: {
    description: "The body of a webhook of any type.",
    oneOf: bodies.map(([name]) => ({ $ref: `#/components/schemas/${name}` })),
    discriminator: {
      propertyName: "type",
      mapping: Object.fromEntries(
        bodies.map(([name, { properties }]) => [properties.type.const, `#/components/schemas/${name}`]),
      ),
    },
  },
};

/** What is POSTed to a request's `webhook.url` when a job comes to `event`. */
const webhook = ({ name, words: { title } }: JobKind, event: string) => ({
  post: {
    operationId: `on${title}${event[0]!.toUpperCase()}${event.slice(1)}`,
    summary: `Receive that a ${name} ${event === "canceled" ? "was canceled" : event}`,
    description:
      "Verify the signature over the raw body (Standard Webhooks) with the key of GET /v1/webhooks/secret. An event may come more than once, then with the same `webhook-id`.",
    tags: ["deliveries"],
    security: [],
    parameters: [
      headerOf("webhook-id", "The event's, the same each time that it is sent."),
      headerOf("webhook-timestamp", "When it is sent, in seconds since 1970."),
      headerOf("webhook-signature", "`v1,` and HMAC-SHA256; for 24 h after a rotation two, with a space between."),
    ],
    requestBody: {
      required: true,
      content: {
        "application/json": {
          schema: { $ref: `#/components/schemas/${bodyName(title, event)}` },
        },
      },
    },
    responses: {
      "2XX": { description: "It arrived: it is not sent again." },
      410: { description: "Nobody listens here any more: what waits for this address is given up." },
      default: {
        description: "It is sent again, 8 times in all over 27 hours; so it is when no answer comes within 15 s.",
      },
    },
  },
});

/** By type; the schemas of the bodies are those of the routes. */
export const webhookOperations = Object.fromEntries(
  events.map(([kind, event]) => [`${kind.name}.${event}`, webhook(kind, event)]),
);
