import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { createConfig, lintFromString } from "@redocly/openapi-core";
import { openApiDocument } from "../../openapi/document.ts";
import { startGateway } from "../support/gateway.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

test("openapi/openapi.json is what the schemas say; `npm run openapi` writes it anew", async () => {
  const kept = await readFile(join(import.meta.dirname, "../../openapi/openapi.json"), "utf8");
  assert.equal(kept, await openApiDocument());
});

test("the gateway serves the document, and a page to read it", async () => {
  const gateway = await startGateway(stack);
  const document = await gateway.http.get("/openapi.json");
  assert.equal(document.body.openapi, "3.1.0");
  assert.deepEqual(document.body, JSON.parse(await openApiDocument()));
  const page = await gateway.http.get("/docs/");
  assert.equal(page.status, 200);
  assert.match(page.text, /swagger-ui/);
});

test("the document has no error for Redocly's linter", async () => {
  const config = await createConfig({ extends: ["recommended"] });
  const found = await lintFromString({ source: await openApiDocument(), absoluteRef: "openapi.json", config });
  const errors = found
    .filter(({ severity }) => severity === "error")
    .map(({ ruleId, message }) => `${ruleId}: ${message}`);
  assert.deepEqual(errors, []);
});
