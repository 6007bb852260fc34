/** Forms (multipart/form-data) as the objects that JSON would be: what clients of OpenAI and Replicate send files in. */
import type { IncomingMessage } from "node:http";
import type { FastifyInstance, FastifyRequest } from "fastify";
import type { z } from "zod";
import { Refused } from "../../errors.ts";
import { type FormPart, readForm } from "../form-parts.ts";

type Tree = { [key: string]: unknown } | unknown[];

/** Fields that take any text: a file there would be read as what it is not. */
const TEXTS = new Set(["prompt", "negative_prompt"]);

/** What a part of a form is in JSON: a text, a file as a data: URI. @throws {Refused} for a file where a text belongs */
function jsonOf({ name, fileType, content }: FormPart): string {
  if (fileType === undefined) return content.toString();
  if (TEXTS.has(name)) {
    const message = "is a file: send it as text";
    throw new Refused(400, "invalid_request", `${name}: ${message}`, [{ path: name, message }]);
  }
  return `data:${fileType.replace(/[,;].*/, "").toLowerCase()};base64,${content.toString("base64")}`;
}

/** `controls[][image]` as ["controls", "", "image"]; "" = the next place of a list. */
function pathOf(name: string): string[] {
  const [, head = name, rest = ""] = /^([^[]*)((?:\[[^\]]*\])*)$/.exec(name) ?? [];
  return [head, ...[...rest.matchAll(/\[([^\]]*)\]/g)].map(([, key]) => key!)];
}

/** Where the rest of a path goes on in a list: in its last entry, as long as that has no such key yet. */
function nextEntry(list: unknown[], [key]: string[]): Tree {
  const last = list.at(-1) as Record<string, unknown> | undefined;
  if (last !== undefined && key !== undefined && key !== "" && !Object.hasOwn(last, key)) return last;
  const made = {};
  list.push(made);
  return made;
}

function put(tree: Record<string, unknown>, path: string[], value: unknown): void {
  let at: Tree = tree;
  for (let i = 0; i < path.length; i++) {
    const [key, rest] = [path[i]!, path.slice(i + 1)];
    const isList: boolean = rest[0] === "";
    if (Array.isArray(at)) {
      if (rest.length === 0) at.push(value);
      else at = nextEntry(at, rest);
      continue;
    }
    if (rest.length === 0) at[key] = Object.hasOwn(at, key) ? [at[key], value].flat() : value;
    else {
      if (!Object.hasOwn(at, key)) at[key] = isList ? [] : {};
      at = at[key] as Tree;
    }
    if (typeof at !== "object" || at === null) return; // a text where an object begins: the schema says what is wrong
  }
}

/** What schemas wrap another one in. */
const WRAPPERS = new Set(["optional", "nullable", "default"]);

/** A text of a form as the value that a schema wants; as it is where it cannot be that. */
export function fromText(schema: z.ZodType, value: unknown): unknown {
  const def = schema._zod.def as z.core.$ZodTypeDef & { [part: string]: unknown };
  if (WRAPPERS.has(def.type)) return fromText(def.innerType as z.ZodType, value);
  if (def.type === "object" && typeof value === "object" && value !== null) {
    const shape = def.shape as Record<string, z.ZodType>;
    return Object.fromEntries(
      Object.entries(value).map(([key, part]) => [key, Object.hasOwn(shape, key) ? fromText(shape[key]!, part) : part]),
    );
  }
  if (def.type === "array" && Array.isArray(value))
    return value.map((part) => fromText(def.element as z.ZodType, part));
  if (typeof value !== "string") return value;
  if (def.type === "string" || def.type === "enum") return value;
  if (def.type === "union" && !/^[[{]/.test(value)) return value;
  try {
    return JSON.parse(value); // 3, true, {"a": 1}
  } catch {
    return value;
  }
}

/** Makes a plugin take forms: what its routes get is an object of texts, files as data: URIs. */
export function takeForms(app: FastifyInstance): void {
  app.addContentTypeParser("multipart/form-data", async (request: FastifyRequest, body: IncomingMessage) => {
    const tree: Record<string, unknown> = Object.create(null);
    for (const part of await readForm(request, body)) put(tree, pathOf(part.name), jsonOf(part));
    return { ...tree };
  });
}
