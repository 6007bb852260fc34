/** Whether an answer is what the OpenAPI document says, and a client that asks this of every answer. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import supertest, { type Response } from "supertest";

/** As it is kept, which openapi.test.ts holds to be what the service says: half the files of tests read it. */
const DOCUMENT = readFileSync(join(import.meta.dirname, "../../openapi/openapi.json"), "utf8");
const document = JSON.parse(DOCUMENT, (_, part) => closed(part));

/** A schema of the document, which is open for fields of tomorrow, without those: what is sent today is in it. */
function closed(part: unknown): unknown {
  if (typeof part !== "object" || part === null || !("properties" in part) || !("type" in part)) return part;
  return { additionalProperties: false, ...part };
}

/** Every file compiles these anew, so without what makes compiling long; lint-document.ts holds the document valid. */
const QUICK = { code: { optimize: false }, inlineRefs: false, validateSchema: false } as const;
const ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: true, ...QUICK });
ajv.addSchema(document, "openapi");
const validators = new Map<string, ValidateFunction>();

/** What is there for readers of the document, and not in it. */
const FOR_READERS = /^\/(openapi\.json|docs(\/.*)?)$/;

/** What the document has as every route's `default`: the request could not be read. */
const UNREADABLE = [400, 403, 408, 413, 414, 415, 431];

/** What is not in the document, because no client that is made of it can ask for it; each has words in a description. */
const BY_HAND: readonly { template: RegExp; status: number; type: RegExp }[] = [
  { template: /\/images\/|\/controls\//, status: 304, type: /^/ },
  { template: /\/events$/, status: 204, type: /^$/ },
  { template: /^\/v1\/(generations|annotations)$/, status: 200, type: /^image\// },
];

const isByHand = ({ status, type }: Answered, path: string) =>
  BY_HAND.some((one) => one.status === status && one.template.test(path) && one.type.test(type));

/** What is asked of an answer. */
type Answered = Pick<Response, "status" | "type" | "body"> & { request: { method: string; url: string } };

/**
 * Returns the answer when its status, content type and body are documented for its route, or when it is a problem of a
 * route that there is not; fails when not.
 */
export function conforms<A extends Answered>(response: A): A {
  const { method, url } = response.request;
  if (method === "OPTIONS" && response.status === 204) return response; // of every path
  const path = new URL(url).pathname.replace(/\/{2,}/g, "/").replace(/(.)\/$/, "$1"); // as the gateway reads it
  const template = Object.keys(document.paths).find((candidate) =>
    new RegExp(`^${candidate.replace(/\{\w+\}/g, "[^/]+")}$`).test(path),
  );
  const operation = ["paths", template ?? "", method.toLowerCase()];
  if (isByHand(response, template ?? "")) return response;
  const find = (keys: string[]) => keys.reduce((part, key) => part?.[key], document);
  if (find(operation) === undefined) {
    assert.ok(
      [401, 404, 405, ...UNREADABLE].includes(response.status),
      `${method} ${path} is not in the OpenAPI document`,
    );
    return isValid(response, ["components", "schemas", "Problem"]);
  }
  const responses = find([...operation, "responses"]);
  const undocumented = responses[response.status] === undefined && UNREADABLE.includes(response.status);
  const where = [...operation, "responses", undocumented ? "default" : String(response.status)];
  const answer = find(where);
  assert.ok(answer, `${method} ${template}: status ${response.status} is not in the OpenAPI document`);
  if (response.status === 204 || response.status === 304) return response; // they have no body
  assert.ok(
    answer.content?.[response.type],
    `${method} ${template}: ${response.status} ${response.type} is undocumented`,
  );
  if (!response.type.endsWith("json")) return response;
  return isValid(response, [...where, "content", response.type, "schema"]);
}

/** Fails when a webhook's body is not what the document says of its type. */
export function conformsToItsType(body: { type: string }): void {
  const where = ["webhooks", body.type, "post", "requestBody", "content", "application/json", "schema"];
  assertFits(body, where);
}

function isValid<A extends Answered>(response: A, schema: string[]): A {
  assertFits(response.body, schema);
  if (response.status >= 400) assert.partialDeepStrictEqual(response.body, { status: response.status });
  return response;
}

/** Fails when the body does not fit the schema that lies there in the document. */
function assertFits(body: unknown, schema: string[]): void {
  const pointer = schema.map((key) => encodeURIComponent(key.replaceAll("~", "~0").replaceAll("/", "~1"))).join("/");
  const validate = validators.get(pointer) ?? ajv.compile({ $ref: `openapi#/${pointer}` });
  validators.set(pointer, validate);
  assert.ok(validate(body), ajv.errorsText(validate.errors));
}

/** A client of the service at `url`: a request fails when its answer does not conform. */
export function clientOf(url: string) {
  return supertest.agent(url).use((request: unknown) => {
    (request as supertest.Test).expect((response) => {
      if (!FOR_READERS.test(new URL(response.request.url).pathname)) conforms(response);
    });
  });
}
