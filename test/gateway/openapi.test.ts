import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { openApiDocument } from "../../openapi/document.ts";
import { startGateway } from "../support/gateway.ts";
import { EXCEPTIONS, isException, lintWithRedocly, lintWithSpectral } from "../support/lint-document.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const document = await openApiDocument();

test("openapi/openapi.json is what the schemas say; `npm run openapi` writes it anew", async () => {
  const kept = await readFile(join(import.meta.dirname, "../../openapi/openapi.json"), "utf8");
  assert.equal(kept, document);
});

test("the gateway serves the document, and a page to read it", async () => {
  const gateway = await startGateway(stack);
  const served = await gateway.http.get("/openapi.json");
  assert.equal(served.body.openapi, "3.1.0");
  assert.deepEqual(served.body, JSON.parse(document));
  const page = await gateway.http.get("/docs/");
  assert.equal(page.status, 200);
  assert.match(page.text, /swagger-ui/);
});

test("Redocly's recommended rules find no error and nothing to warn of, but for the exceptions", async () => {
  const found = await lintWithRedocly(document);
  assert.deepEqual(
    found.filter((finding) => !isException(finding)),
    [],
  );
});

test("Spectral's recommended rules find no error and nothing to warn of, but for the exceptions", async () => {
  const found = await lintWithSpectral(document);
  assert.deepEqual(
    found.filter((finding) => !isException(finding)),
    [],
  );
});

test("each exception from a linter's rule is still needed", async () => {
  const found = [...(await lintWithRedocly(document)), ...(await lintWithSpectral(document))];
  for (const { rule, at } of EXCEPTIONS) {
    assert.ok(
      found.some((finding) => finding.rule === rule && at.test(finding.at)),
      rule,
    );
  }
});

/** A JSON schema, or a part of the document. */
// biome-ignore lint/suspicious/noExplicitAny: a document of any shape, walked
type Part = any;

/** Every property of every schema of the document, by its JSON pointer; a reference without words of its own as what it refers to. */
function* properties(whole: Part, part: Part = whole, at = "#"): Generator<[at: string, property: Part]> {
  if (typeof part !== "object" || part === null) return;
  if (part.type === "object" && part.properties !== undefined) {
    for (const [name, property] of Object.entries<Part>(part.properties)) {
      const target = property.$ref?.slice(2).split("/");
      yield [
        `${at}/properties/${name}`,
        { ...target?.reduce((node: Part, key: string) => node[key], whole), ...property },
      ];
    }
  }
  for (const [key, value] of Object.entries(part)) {
    yield* properties(whole, value, `${at}/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`);
  }
}

test("every property of every schema has a description", async () => {
  const all = [...properties(JSON.parse(document))];
  assert.ok(all.length > 300, `only ${all.length} properties were found`);
  assert.deepEqual(
    all.filter(([, { description }]) => !description).map(([at]) => at),
    [],
  );
});

/** What a schema that takes a text or a number has beside an example that says as much as one. */
const saysItself = ({ const: constant, enum: choices, type }: Part) =>
  constant !== undefined || choices !== undefined || type === "boolean" || type === "object" || type === "array";

test("every property that is a text or a number has an example, unless its values are listed", async () => {
  const all = [...properties(JSON.parse(document))];
  const without = all.filter(([, property]) => {
    const forms: Part[] = (property.anyOf ?? property.oneOf ?? [property]).filter(({ type }: Part) => type !== "null");
    return (
      !("example" in property || "examples" in property) && !forms.every(saysItself) && !forms.some((form) => form.$ref)
    );
  });
  assert.deepEqual(
    without.map(([at]) => at),
    [],
  );
});
