/** What the OpenAPI document says beyond the schemas: for generators of clients, and for who tries a route where it is read. */
import { A_PICTURE } from "./openapi-examples.ts";
import { simplify } from "./openapi-generators.ts";
import { nameParts } from "./openapi-names.ts";

// biome-ignore lint/suspicious/noExplicitAny: a document of any shape, walked
type Part = any;

/** Bodies that work as they stand where there is one model; of a training the dataset is to be put there first. */
const BODIES: Readonly<Record<string, object>> = {
  createGeneration: { prompt: "a yellow house with a red roof, the sun, on grass, by day", seed: 10 },
  createAnnotation: { annotator: "canny", image: A_PICTURE },
  createTraining: { base: "sd15", name: "my-edges", dataset: "folder:edges", max_train_steps: 1000 },
};

const header = (description: string, type: "string" | "integer" = "string") => ({
  description,
  schema: type === "integer" ? { type, minimum: 0, maximum: 86_400 } : { type },
});

const OF_A_PICTURE = {
  ETag: header("Of the picture's bytes, for If-None-Match, which 304 answers, and If-Range."),
  "Accept-Ranges": header("bytes: a Range of one part is answered."),
  "Cache-Control": header("private, immutable: the bytes never change."),
};
const LOCATION = header("Absolute address of what was made.");

/** By operation and status. */
const HEADERS: Readonly<Record<string, Readonly<Record<string, object>>>> = {
  createGeneration: {
    200: {
      Location: LOCATION,
      "Preference-Applied": header("wait= and the seconds that it was held for at most."),
      "X-Generation-Id": header("Of a picture: the generation that it is of."),
      "X-Seed": header("Of a picture: its seed."),
      "Content-Location": header("Of a picture: its address."),
    },
    202: { Location: LOCATION, "Preference-Applied": header("wait= and the seconds that it was held for at most.") },
  },
  createTraining: { 202: { Location: LOCATION } },
  createAnnotation: { 202: { Location: LOCATION } },
  getGenerationImage: {
    200: OF_A_PICTURE,
    206: { ...OF_A_PICTURE, "Content-Range": header("bytes first-last/all.") },
    416: { "Content-Range": header("bytes */all.") },
  },
};

/** By status, of every operation. */
const HEADERS_OF_ALL: Readonly<Record<string, object>> = {
  401: { "WWW-Authenticate": header("Bearer.") },
  429: { "Retry-After": header("Seconds after which to ask again.", "integer") },
  503: { "Retry-After": header("Seconds after which to ask again.", "integer") },
};

/** What an answer is, by its status, where its route says no more. */
const MEANINGS: Readonly<Record<string, string>> = {
  200: "As asked for.",
  201: "It is kept.",
  202: "Accepted: it goes on by itself.",
};
const UNSAID = "Default Response";

const INT32 = 2 ** 31 - 1;

/** A schema as generators want it; `isSent` where it is of a request. */
function finishSchema(schema: Part, isSent: boolean): void {
  if (schema.format === "date-time") delete schema.pattern; // clients hold a time against a pattern and fail
  if (schema.type === "integer" && (schema.maximum ?? Number.POSITIVE_INFINITY) > INT32) schema.format = "int64";
  for (const property of Object.values<Part>(schema.properties ?? {})) {
    if (!("default" in property)) continue;
    // Some generators take what has a default for required. The words say it to people, the service fills it in.
    const said = JSON.stringify(property.default);
    delete property.default;
    if (isSent && !["null", "[]", "{}"].includes(said))
      property.description = `${property.description} Default: ${said}.`;
  }
  if (!isSent) return;
  for (const [name, property] of Object.entries<Part>(schema.properties ?? {})) {
    if (!schema.required?.includes(name) && !takesNull(property)) schema.properties[name] = orNull(property);
  }
}

const takesNull = ({ type, anyOf = [] }: Part): boolean =>
  [type].flat().includes("null") || anyOf.some((option: Part) => takesNull(option));

/** The property as it is, or null, which is the same as absent (src/schema/nulls.ts); what is said of it stays outside. */
function orNull({ description, examples, ...own }: Part): Part {
  const said = { ...(description && { description }), ...(examples && { examples }) };
  return { ...said, anyOf: [...(own.anyOf ?? [own]), { type: "null" }] };
}

function walk(part: Part, isSent: boolean): void {
  if (typeof part !== "object" || part === null) return;
  if (!Array.isArray(part)) finishSchema(part, isSent);
  for (const [key, value] of Object.entries(part)) if (key !== "example" && key !== "examples") walk(value, isSent);
}

function finishOperation(operation: Part): void {
  const id: string = operation.operationId;
  const content = operation.requestBody?.content;
  if (BODIES[id] !== undefined) content["application/json"].example = BODIES[id];
  if (id === "createUpload") {
    const file = {
      type: "string",
      format: "binary",
      description: "The image or the archive.",
      examples: ["house.png"],
    };
    operation.requestBody.content = {
      "multipart/form-data": { schema: { type: "object", required: ["file"], properties: { file } } },
    };
  }
  for (const [status, answer] of Object.entries<Part>(operation.responses)) {
    const headers = { ...HEADERS_OF_ALL[status], ...HEADERS[id]?.[status] };
    if (Object.keys(headers).length > 0) answer.headers = headers;
    if (answer.description === UNSAID) answer.description = MEANINGS[status];
  }
}

/** The whole document, changed in place. */
export function finishDocument<D extends object>(document: D): D {
  const { paths, components } = document as Part;
  for (const [name, schema] of Object.entries(components.schemas)) walk(schema, name.endsWith("Input"));
  for (const path of Object.values<Part>(paths)) {
    walk(path, false);
    for (const operation of Object.values<Part>(path)) finishOperation(operation);
  }
  simplify(document);
  nameParts(document);
  return document;
}
