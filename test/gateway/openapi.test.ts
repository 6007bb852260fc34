import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { openApiDocument } from "../../openapi/document.ts";
import { JOB_CODES, PROBLEM_CODES } from "../../src/schema/error-codes.ts";
import { CATALOG, startGateway } from "../support/gateway.ts";
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
  const servers = [{ url: gateway.config.PUBLIC_URL }];
  assert.deepEqual(served.body, { ...JSON.parse(document), servers });
  const page = await gateway.http.get("/docs/");
  assert.equal(page.status, 200);
  assert.match(page.text, /swagger-ui/);
});

const linters = { Redocly: lintWithRedocly(document), Spectral: lintWithSpectral(document) };

for (const [linter, findings] of Object.entries(linters)) {
  test(`${linter}'s recommended rules find no error and nothing to warn of, but for the exceptions`, async () => {
    const found = await findings;
    assert.deepEqual(
      found.filter((finding) => !isException(finding)),
      [],
    );
  });
}

test("each exception from a linter's rule is still needed", async () => {
  const found = (await Promise.all(Object.values(linters))).flat();
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

test("every error's code is in the document and in docs/errors.md, and each of the table's is", async () => {
  const page = await readFile(join(import.meta.dirname, "../../docs/errors.md"), "utf8");
  const { schemas } = JSON.parse(document).components;
  const told: string[] = schemas.ProblemCode.enum;
  for (const [code, [status, meaning]] of Object.entries(PROBLEM_CODES)) {
    assert.ok(page.includes(`| \`${code}\` | ${status} | ${meaning} |`), code);
  }
  for (const [code, meaning] of Object.entries(JOB_CODES))
    assert.ok(page.includes(`| \`${code}\` | ${meaning} |`), code);
  const files = globSync("{src,workers}/**/*.ts", { cwd: join(import.meta.dirname, "../..") });
  const said = files.flatMap((file) => {
    const source = readFileSync(join(import.meta.dirname, "../..", file), "utf8");
    const codes = /(?:new Refused\(\s*\d+,|unprocessable\(|\bfailure\(|\bproblem\(\s*\d+,)\s*"(\w+)"/g;
    return [...source.matchAll(codes)].map(([, code]) => `${code} (${file})`);
  });
  assert.ok(said.length > 40);
  assert.deepEqual(
    said.filter((one) => !told.includes(one.split(" ")[0]!)),
    [],
    "add them to src/schema/error-codes.ts and docs/errors.md",
  );
});

test("the document is one that generators and other languages can read", () => {
  const found: string[] = [];
  const visit = (part: Part, at: string): void => {
    if (typeof part !== "object" || part === null) return;
    if (part.prefixItems !== undefined || part.items === false)
      found.push(`${at}: a tuple, which some generators do not read`);
    if (part.format === "date-time" && part.pattern) found.push(`${at}: a pattern beside date-time`);
    if (part.type === "integer" && !((part.maximum ?? 2 ** 53) <= 2 ** 31 - 1) && part.format !== "int64") {
      found.push(`${at}: more than 32 bits, and not int64`);
    }
    for (const [name, property] of Object.entries<Part>(part.type === "object" ? (part.properties ?? {}) : {})) {
      if ("default" in property) found.push(`${at}/${name}: a default, which some generators take for required`);
    }
    for (const [key, value] of Object.entries(part)) visit(value, `${at}/${key}`);
  };
  const whole = JSON.parse(document);
  visit(whole, "#");
  assert.deepEqual(found, []);
  const { paths, components } = whole;
  // Null is the same as absent: an optional field of a request says so, or typed clients refuse to send what is echoed.
  const optional = [...properties(whole, components.schemas)].filter(([at]) => /^#\/\w+Input\//.test(at));
  const firm = optional.filter(([at, { type, anyOf = [] }]) => {
    const owner = at
      .replace(/\/properties\/\w+$/, "")
      .split("/")
      .slice(1);
    const { required = [] } = owner.reduce((part: Part, key) => part[key], components.schemas);
    const types = [type, ...anyOf.map((option: Part) => option.type)].flat();
    return !required.includes(at.split("/").at(-1)) && !types.includes("null");
  });
  assert.ok(optional.length > 100);
  assert.deepEqual(
    firm.map(([at]) => at),
    [],
  );
  const upload = paths["/v1/uploads"].post.requestBody.content;
  assert.equal(whole.components.schemas.UploadForm.properties.file.format, "binary");
  assert.deepEqual(Object.keys(upload), ["multipart/form-data"]);
  const picture = paths["/v1/generations/{id}/images/{n}"].get.responses[200];
  assert.equal(picture.content["image/png"].schema.format, "binary");
  assert.ok(picture.headers.ETag && paths["/v1/generations"].post.responses[202].headers.Location);
});

test("every object, enum and union has a name; answers are open, a union says what tells its options apart", () => {
  const { components, paths } = JSON.parse(document);
  const found: string[] = [];
  const unions = Object.values<Part>(components.schemas).filter(({ discriminator }) => discriminator !== undefined);
  // What tells the options apart is a text where it stands, and the options are references alone, as openapi-generator asks for.
  const telling = unions.flatMap(({ oneOf, discriminator }) =>
    oneOf.map(({ $ref, ...beside }: Part) => {
      assert.deepEqual(beside, {}, $ref);
      return `${$ref.split("/").at(-1)}/${discriminator.propertyName}`;
    }),
  );
  const visit = (part: Part, at: string, isNamed: boolean, isSent: boolean): void => {
    if (typeof part !== "object" || part === null) return;
    if (telling.includes(at)) {
      assert.equal(part.type, "string", at);
      return;
    }
    const deserves = part.properties !== undefined || part.enum?.length > 1 || part.oneOf !== undefined;
    if (deserves && !isNamed && !at.endsWith("/propertyNames")) found.push(`${at}: has no name`);
    if (part.oneOf !== undefined && part.discriminator === undefined) found.push(`${at}: has no discriminator`);
    if (!isSent && part.additionalProperties === false) found.push(`${at}: is closed`);
    for (const [key, value] of Object.entries<Part>(part.properties ?? {})) visit(value, `${at}/${key}`, false, isSent);
    for (const key of ["anyOf", "oneOf", "items", "additionalProperties", "propertyNames"]) {
      for (const one of [part[key]].flat()) visit(one, `${at}/${key}`, false, isSent);
    }
  };
  for (const [name, schema] of Object.entries<Part>(components.schemas)) visit(schema, name, true, /Input$/.test(name));
  for (const [path, operations] of Object.entries<Part>(paths)) {
    for (const { responses, parameters = [] } of Object.values<Part>(operations)) {
      for (const { schema } of parameters) visit(schema, path, false, true);
      for (const { content = {} } of Object.values<Part>(responses)) {
        for (const { schema } of Object.values<Part>(content)) visit(schema, path, false, false);
      }
    }
  }
  assert.deepEqual(found, []);
  assert.ok(Object.keys(components.schemas).length > 250);
});

test("an operation has one kind of errors, and answers with JSON or with bytes, not with either", () => {
  for (const [path, operations] of Object.entries<Part>(JSON.parse(document).paths)) {
    for (const [method, { operationId, responses }] of Object.entries<Part>(operations)) {
      assert.match(operationId, /^(get|list|create|cancel|delete|stream|rotate|replay)[A-Z]/);
      for (const [status, { content = {} }] of Object.entries<Part>(responses)) {
        const types = Object.keys(content);
        if (/^2/.test(status))
          assert.ok(!types.includes("application/json") || types.length === 1, `${method} ${path}`);
        else assert.equal(content["application/problem+json"]?.schema.$ref, "#/components/schemas/Problem");
      }
    }
  }
});

test("the example of a generation's and of an annotation's body works as it stands", async () => {
  const gateway = await startGateway(stack);
  await gateway.offer(CATALOG);
  for (const kind of ["generations", "annotations"]) {
    const { example } = JSON.parse(document).paths[`/v1/${kind}`].post.requestBody.content["application/json"];
    const answer = await gateway.http.post(`/v1/${kind}`).send(example);
    assert.equal(answer.status, 202, answer.text);
  }
});
