/**
 * The requests of a hostile client, made from the OpenAPI document: what fits the schemas, what nearly does, and what should
 * never have been sent.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { CATALOG } from "../gateway.ts";

/** A JSON schema, or a part of the document. */
// biome-ignore lint/suspicious/noExplicitAny: a document of any shape, walked
type Schema = any;

export interface Attack {
  method: string;
  path: string;
  headers: Record<string, string>;
  body: Buffer | undefined;
}

const PNG = readFileSync(join(import.meta.dirname, "../../fixtures/image/decode/rgb.png"));
const MODEL = CATALOG.models[0]!.id;
const CONTROLNET = CATALOG.controlnets[0]!.id;

const dataUri = (bytes: Uint8Array) => `data:image/png;base64,${Buffer.from(bytes).toString("base64")}`;

/** Texts that have broken one program or another. */
const nastyText = fc.oneof(
  fc.constantFrom(
    "",
    "\u0000",
    "\ud800",
    "\u202e\u0007\u001b[2J",
    "__proto__",
    "constructor",
    "../../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "%00",
    "%",
    "\r\nSet-Cookie: a=b",
    "' OR 1=1 --",
    "{{7*7}}<script>",
    "generation:*",
    "(((((((((((((((((((((((((((((((((((:1.1)",
    "[".repeat(5000),
    "é".repeat(3000),
    "9".repeat(400),
    "a:".repeat(8000),
    "NaN",
    "data:image/png;base64,",
    `data:image/png;base64,${"A".repeat(50_000)}`,
    `data:${"x".repeat(300)};base64,AAAA`,
  ),
  fc.string({ unit: "binary", maxLength: 300 }),
);

const nastyNumber = fc.oneof(
  fc.constantFrom(-1, -0, 0, 1e-320, 1e308, -1e308, 2 ** 31, 2 ** 53, 2 ** 64, 0.1, 7, 1.5),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.integer(),
);

const nasty: fc.Arbitrary<unknown> = fc.oneof(
  nastyText,
  nastyNumber,
  fc.constantFrom<unknown>(null, true, [], {}, JSON.parse('{"__proto__":{"polluted":1},"constructor":{}}')),
  fc.constantFrom(100, 1000).map((depth) => JSON.parse("[".repeat(depth) + "]".repeat(depth))),
  fc.jsonValue(),
);

/** Addresses that a guard must refuse without asking anybody. */
const ADDRESSES = [
  "http://127.0.0.1:1/a.png",
  "https://[::1]/a.png",
  "http://169.254.169.254/latest/meta-data",
  "https://0x7f000001/",
  "https://[::ffff:10.0.0.1]/",
  "https://localhost/",
  "https://user:password@127.0.0.1/",
];

const image = fc.oneof(
  fc.constantFrom(dataUri(PNG), dataUri(PNG.subarray(0, 40)), "upload:none", ...ADDRESSES),
  fc.uint8Array({ maxLength: 200 }).map(dataUri),
);

/** What makes sense in fields of these names, so that some requests get beyond the schema. */
const KNOWN: Record<string, fc.Arbitrary<unknown>> = {
  model: fc.constant(MODEL),
  controlnet: fc.constant(CONTROLNET),
  image,
  mask: image,
  mask_image: image,
  url: fc.constantFrom(...ADDRESSES),
};

/** Values that fit a schema of the document, or nearly: patterns are not followed. */
function fitting(schema: Schema, document: Schema, name = ""): fc.Arbitrary<unknown> {
  const again = (part: Schema, partName = "") => fitting(part, document, partName);
  const known = KNOWN[name];
  if (known !== undefined) return known;
  if (schema.$ref !== undefined) {
    const pointer: string[] = schema.$ref.slice(2).split("/");
    return again(pointer.reduce((part, key) => part[key], document));
  }
  if (schema.const !== undefined) return fc.constant(schema.const);
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  const choice = schema.anyOf ?? schema.oneOf;
  if (choice !== undefined) return fc.oneof(...choice.map((part: Schema) => again(part)));
  const TYPES: Record<string, () => fc.Arbitrary<unknown>> = {
    null: () => fc.constant(null),
    boolean: () => fc.boolean(),
    integer: () => {
      const [min, max] = [schema.minimum ?? 0, schema.maximum ?? 1000];
      const step = schema.multipleOf ?? 1;
      return fc.integer({ min: Math.ceil(min / step), max: Math.floor(max / step) }).map((n) => n * step);
    },
    number: () => fc.double({ min: schema.minimum ?? 0, max: schema.maximum ?? 100, noNaN: true }),
    string: () => fc.string({ minLength: schema.minLength ?? 0, maxLength: Math.min(schema.maxLength ?? 60, 60) }),
    array: () => {
      if (schema.prefixItems) return fc.tuple(...schema.prefixItems.map((part: Schema) => again(part)));
      const maxLength = Math.min(schema.maxItems ?? 3, 3);
      return fc.array(again(schema.items ?? {}), { minLength: schema.minItems ?? 0, maxLength });
    },
    object: () => {
      const properties = Object.entries<Schema>(schema.properties ?? {});
      if (properties.length === 0) return fc.dictionary(fc.string(), fc.jsonValue(), { maxKeys: 3 });
      const parts = Object.fromEntries(properties.map(([key, part]) => [key, again(part, key)]));
      const optional = Object.keys(parts).filter((key) => !schema.required?.includes(key));
      return fc.subarray(optional, { maxLength: Math.min(4, optional.length) }).chain((left) => {
        const taken = Object.entries(parts).filter(([key]) => left.includes(key) || !optional.includes(key));
        return fc.record(Object.fromEntries(taken));
      });
    },
  };
  return TYPES[schema.type]?.() ?? nasty;
}

/** A value with some of its parts replaced, removed or added. */
const spoiled = (value: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> =>
  fc
    .tuple(value, fc.array(fc.tuple(fc.nat(), fc.constantFrom("replace", "remove", "add"), nasty), { maxLength: 2 }))
    .map(([whole, spoils]) => {
      const root = { whole: structuredClone(whole) };
      for (const [pick, how, shared] of spoils) {
        const bad = structuredClone(shared);
        const places: [Record<string, unknown>, string][] = [];
        const visit = (node: unknown) => {
          if (typeof node !== "object" || node === null) return;
          for (const key of Object.keys(node)) {
            places.push([node as Record<string, unknown>, key]);
            if (places.length < 200) visit((node as Record<string, unknown>)[key]);
          }
        };
        visit(root);
        const [node, key] = places[pick % places.length]!;
        if (how === "remove" && node !== root) delete node[key];
        else if (how === "add") node[`${key}_`] = bad;
        else node[key] = bad;
      }
      return root.whole;
    });

/** A body of JSON, most often whole. */
const jsonBody = (value: fc.Arbitrary<unknown>) =>
  fc.tuple(spoiled(value), fc.nat({ max: 99 }), fc.nat()).map(([json, dice, at]) => {
    const text = Buffer.from(JSON.stringify(json) ?? "");
    if (dice < 90) return text;
    if (dice < 93) return text.subarray(0, at % (text.length + 1));
    if (dice < 95) return Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), text]);
    if (dice < 97) return Buffer.concat([text, Buffer.from([0xff, 0xfe, 0x00])]);
    return Buffer.from("[".repeat(20_000));
  });

const imageBody = fc.oneof(
  fc.constant(PNG),
  fc.nat({ max: PNG.length }).map((length) => PNG.subarray(0, length)),
  fc.tuple(fc.nat({ max: PNG.length - 1 }), fc.nat({ max: 255 })).map(([at, value]) => {
    const bytes = Buffer.from(PNG);
    bytes[at] = value;
    return bytes;
  }),
  fc.uint8Array({ maxLength: 2000 }).map((bytes) => Buffer.from(bytes)),
);

/** Header values: what Node's client would refuse to send is sent as bytes. */
const HEADERS: Record<string, fc.Arbitrary<string>> = {
  prefer: fc.constantFrom("wait=0", "wait=-1", "wait=,wait=0", "respond-async", "wait=0x10;a=b"),
  "idempotency-key": fc.oneof(fc.constantFrom("a", "b", "c"), fc.string({ maxLength: 300 })),
  "last-event-id": fc.constantFrom("0-0", "1-0", "999999999-999999999", "-1", "$", "x"),
  "if-none-match": fc.constantFrom("*", 'W/"x"', "x", ",,,"),
  "content-type": fc.constantFrom(
    "text/plain",
    "image/png",
    "application/json; charset=utf-16",
    "multipart/form-data",
    "x",
  ),
  "content-encoding": fc.constantFrom("gzip", "br", "x"),
  accept: fc.constantFrom("image/png", "text/event-stream", "x"),
  authorization: fc.constantFrom("Bearer", "Bearer x", "Basic eDp4"),
  "x-http-method-override": fc.constant("DELETE"),
};

/** How a body of a type of the document is sent. */
const CONTENT_TYPES: Record<string, string> = { "multipart/form-data": "multipart/form-data; boundary=hostile" };

/** A form with one file. */
const inForm = (file: Buffer) =>
  Buffer.concat([
    Buffer.from('--hostile\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'),
    file,
    Buffer.from("\r\n--hostile--\r\n"),
  ]);

interface Route {
  template: string;
  method: string;
  operation: Schema;
}

/**
 * Requests against every route of the document.
 * @param ids of resources that there are, so that some paths lead somewhere; may grow meanwhile
 */
export function attacks(document: Schema, ids: readonly string[]): fc.Arbitrary<Attack> {
  const oneId = fc.oneof(
    fc.nat().map((n) => ids[n % Math.max(1, ids.length)] ?? "none"),
    fc.nat().map((n) => ids[n % Math.max(1, ids.length)] ?? "none"),
    nastyText,
  );
  const routes = Object.entries<Schema>(document.paths).flatMap(([template, methods]) =>
    Object.entries<Schema>(methods).flatMap(([method, operation]) =>
      Array<Route>(operation.requestBody ? 5 : 1).fill({ template, method, operation }),
    ),
  );
  return fc.constantFrom(...routes).chain(({ template, method, operation }) => {
    const query = (operation.parameters ?? []).filter((parameter: Schema) => parameter.in === "query");
    const [[type, content]] = Object.entries<Schema>(operation.requestBody?.content ?? { "": undefined }) as [
      [string, Schema],
    ];
    const body =
      content === undefined
        ? fc.option(fc.constant(Buffer.from("{}")), { nil: undefined, freq: 20 })
        : type === "application/json"
          ? jsonBody(fitting(content.schema, document))
          : imageBody.map(inForm);
    return fc
      .record({
        ids: fc.array(oneId, { minLength: 2, maxLength: 2 }),
        queries: fc.array(
          fc.tuple(
            fc.constantFrom(...query.map(({ name }: Schema) => name), "unknown", "__proto__"),
            fc.oneof(nastyText, nastyNumber.map(String), fc.constantFrom("queued", "1", "100")),
          ),
          { maxLength: 2 },
        ),
        headers: fc.dictionary(fc.constantFrom(...Object.keys(HEADERS)), fc.nat(), { maxKeys: 1 }),
        seed: fc.nat(),
        body,
        method: fc.oneof(
          { weight: 30, arbitrary: fc.constant(method) },
          { weight: 1, arbitrary: fc.constantFrom("put", "patch", "delete", "post", "options", "head") },
        ),
      })
      .map(({ ids, queries, headers, seed, body, method }) => {
        const path = template.replace(/\{\w+\}/g, () => encode(ids.pop() ?? "0"));
        const search = queries.map(([name, value]) => `${name}=${encode(value)}`).join("&");
        const extra = Object.keys(headers).map((name) => [name, fc.sample(HEADERS[name]!, { numRuns: 1, seed })[0]!]);
        return {
          method: method.toUpperCase(),
          path: search === "" ? path : `${path}?${search}`,
          headers: {
            ...(body && {
              "content-length": String(body.length),
              "content-type": CONTENT_TYPES[type] ?? "application/json",
            }),
            ...Object.fromEntries(extra),
          },
          body,
        };
      });
  });
}

/** Percent-encodes what would end a path or a request line, and leaves the rest as it is. */
function encode(text: string): string {
  return text.toWellFormed().replace(/[^\x21-\x7e]|[/?#]/gu, (character) => encodeURIComponent(character));
}
