/** How the OpenAPI 3.1 document is made from the schemas of the routes. */
import type { FastifyDynamicSwaggerOptions } from "@fastify/swagger";
import { jsonSchemaTransform, jsonSchemaTransformObject } from "fastify-type-provider-zod";
import { z } from "zod";
import { Problem } from "../schema/problem.ts";
import { idempotencyHeader } from "./idempotency.ts";
import { finishDocument } from "./openapi-finish.ts";
import { webhookOperations, webhookSchemas } from "./openapi-webhooks.ts";

/** @param publicUrl what the operations lie under */
export const documentOptions = (publicUrl: string): FastifyDynamicSwaggerOptions => ({
  openapi: {
    openapi: "3.1.0",
    info: {
      title: "Pictures under control",
      description: "Stable Diffusion with ControlNets: a prompt and control images in, pictures out.",
      version: "1.0.0",
    },
    servers: [{ url: publicUrl }],
    webhooks: webhookOperations,
    security: [{ apiKey: [] }],
    components: {
      securitySchemes: {
        apiKey: {
          type: "http",
          scheme: "bearer",
          description:
            "An API key; the password of HTTP Basic is one too. An installation without keys takes every request, and listens on loopback alone.",
        },
      },
    },
    tags: [
      { name: "generations", description: "Making pictures." },
      { name: "annotations", description: "Making maps of pictures." },
      { name: "trainings", description: "Making ControlNets." },
      { name: "uploads", description: "Images and archives that are sent once and named in requests." },
      { name: "deliveries", description: "Webhooks: events that are sent to the client, their secret and their log." },
      { name: "catalog", description: "What this installation offers." },
      { name: "service", description: "How the service is." },
    ],
  },
  transform: (route) => jsonSchemaTransform({ ...route, schema: forEveryRoute(route) }),
  transformObject: (document) => finishDocument(onlyUsed(jsonSchemaTransformObject(document) as Document)),
});

const MEANINGS = {
  400: "The request is not JSON or does not fit the schema.",
  401: "There is no API key in `Authorization: Bearer`, or none that anybody has.",
  403: "The address is signed, and its signature is forged or expired: `code` says which.",
  404: "There is no such thing.",
  406: "What `Accept` asks for cannot be had together with what the request says.",
  409: "It cannot be done as things stand; `detail` says why.",
  413: "The body, or an image in it, is too large.",
  416: "None of its bytes lies in the `Range`.",
  422: "The request fits the schema but cannot be carried out here.",
  429: "Too many requests or too many jobs: `Retry-After` says when to come back.",
  500: "What was asked for in place of the generation could not be made; `code` and `detail` are its error's.",
  503: "The service cannot take work now; `detail` says why.",
} as const;

type Route = Parameters<typeof jsonSchemaTransform>[0];

/** What holds for all routes but need not be said by each: who may call it, how often, and what no route reads. */
function forEveryRoute({ schema, route }: Route): Route["schema"] {
  if (route.config?.open)
    return { ...schema, security: [], response: { ...(schema.response as object), ...unreadable } };
  const free = [route.method].flat().every((method) => /^(GET|HEAD)$/.test(method));
  const response = { ...(schema.response as object), ...problems(401), ...(free ? {} : problems(429)), ...unreadable };
  if (route.method !== "POST") return { ...schema, response };
  const headers = schema.headers ?? z.looseObject(idempotencyHeader);
  return { ...schema, headers, response: { ...response, ...problems(409) } };
}

const problemAnswer = (description: string) => ({
  description,
  content: { "application/problem+json": { schema: Problem } },
});

/** The problem answers of a route, for its `schema.response`. */
export function problems<S extends keyof typeof MEANINGS>(...statuses: S[]) {
  const entries = statuses.map((status) => [status, problemAnswer(MEANINGS[status])]);
  return Object.fromEntries(entries) as Record<S, ReturnType<typeof problemAnswer>>;
}

/** What files are sent as, for `content` of a route's answer. */
export const binary = (...types: string[]) =>
  Object.fromEntries(types.map((type) => [type, { schema: z.any().meta({ type: "string", format: "binary" }) }]));

const unreadable = {
  default: problemAnswer(
    "The request could not be read: its address, head or body is malformed (400), too slow (408), too large (413, 414, 431), or in an encoding or charset that is not read (415); or, without API keys, it is meant for another host or comes from another site's page (403).",
  ),
};

type Document = ReturnType<typeof jsonSchemaTransformObject> & { components?: { schemas?: Record<string, unknown> } };

/** The document without the schemas that nothing refers to: each is made once as input and once as output. */
function onlyUsed(document: Document): Document {
  const schemas: Record<string, unknown> = { ...document.components?.schemas, ...webhookSchemas };
  const { components, ...rest } = document;
  const used = new Set<string>();
  const visit = (part: unknown) => {
    for (const [, name] of JSON.stringify(part).matchAll(/"#\/components\/schemas\/([^"]+)"/g)) {
      if (name === undefined || used.has(name)) continue;
      used.add(name);
      visit(schemas[name]);
    }
  };
  visit(rest);
  visit({ $ref: "#/components/schemas/WebhookPayload" }); // of the bodies of webhooks, which several operations share
  const kept = Object.fromEntries(Object.entries(schemas).filter(([name]) => used.has(name)));
  return { ...document, components: { ...components, schemas: kept } } as Document;
}
