/** What the OpenAPI document says more simply than it is, because generators of clients make something wrong of it. */

// biome-ignore lint/suspicious/noExplicitAny: a document of any shape, walked
type Part = any;

/** Answers are open: a client of today takes a field of tomorrow. */
function open(part: Part): void {
  if (typeof part !== "object" || part === null) return;
  if (part.type === "object" && part.additionalProperties === false) delete part.additionalProperties;
  for (const value of Object.values(part)) open(value);
}

/** A pair of the same is a list of two: of `prefixItems` and `items: false` openapi-python-client makes no client at all. */
function listPairs(part: Part): void {
  if (typeof part !== "object" || part === null) return;
  const [first, ...others]: Part[] = part.prefixItems ?? [];
  if (first !== undefined && others.every((other) => JSON.stringify(other) === JSON.stringify(first))) {
    delete part.prefixItems;
    part.items = first;
  }
  for (const value of Object.values(part)) listPairs(value);
}

/** A number in a path, which is a text to the routes: what is none is not found. */
const isCount = ({ in: where, name }: Part) => where === "path" && /^(n|step|index)$/.test(name);

function simplifyOperation(operation: Part): void {
  // Answers to what a client says of its own accord (If-None-Match, the final Last-Event-ID), and without a body: the types of
  // errors and of events would be "… or nothing".
  delete operation.responses[304];
  if (operation.responses[200]?.content?.["text/event-stream"]) delete operation.responses[204];
  for (const { content } of Object.values<Part>(operation.responses)) {
    open(content);
    // Of an answer that is JSON or a picture, by Accept, some clients make bytes always.
    if (content?.["application/json"])
      for (const type of Object.keys(content)) if (!/json/.test(type)) delete content[type];
  }
  for (const parameter of operation.parameters ?? []) {
    if (isCount(parameter)) parameter.schema = { type: "integer", minimum: 0, maximum: 2 ** 31 - 1 };
  }
}

/** The whole document, changed in place. */
export function simplify({ paths, components }: Part): void {
  listPairs(components.schemas);
  for (const [name, schema] of Object.entries(components.schemas)) if (!name.endsWith("Input")) open(schema);
  for (const path of Object.values<Part>(paths))
    for (const operation of Object.values<Part>(path)) simplifyOperation(operation);
}
