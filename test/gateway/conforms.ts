/** Whether an answer is what the OpenAPI document says. */
import assert from "node:assert/strict";
import { Ajv2020 } from "ajv/dist/2020.js";
import type { Response } from "supertest";
import { openApiDocument } from "../../openapi/document.ts";

const document = JSON.parse(await openApiDocument());
const ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: true });
ajv.addSchema(document, "openapi");

/** Returns the answer when its status, content type and body are documented for its route; fails when not. */
export function conforms(response: Response): Response {
  const { method, url } = response.request;
  const path = new URL(url).pathname;
  const template = Object.keys(document.paths).find((candidate) =>
    new RegExp(`^${candidate.replace(/\{\w+\}/g, "[^/]+")}$`).test(path),
  );
  assert.ok(template, `${path} is not in the OpenAPI document`);
  const where = ["paths", template, method.toLowerCase(), "responses", String(response.status)];
  const answer = where.reduce((part, key) => part?.[key], document);
  assert.ok(answer, `${method} ${template}: status ${response.status} is not in the OpenAPI document`);
  if (response.status === 204 || response.status === 304) return response; // they have no body
  assert.ok(
    answer.content?.[response.type],
    `${method} ${template}: ${response.status} ${response.type} is undocumented`,
  );
  if (!response.type.endsWith("json")) return response;
  const pointer = [...where, "content", response.type, "schema"].map((key) =>
    encodeURIComponent(key.replaceAll("~", "~0").replaceAll("/", "~1")),
  );
  const validate = ajv.compile({ $ref: `openapi#/${pointer.join("/")}` });
  assert.ok(validate(response.body), ajv.errorsText(validate.errors));
  if (response.status >= 400) assert.partialDeepStrictEqual(response.body, { status: response.status });
  return response;
}
