/**
 * Bodies in: JSON, in UTF-8 and as it is. No body is none, whatever its Content-Type: most clients set that of JSON always.
 */
import type { IncomingMessage } from "node:http";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { Refused } from "../errors.ts";
import type { Bounds } from "./bounds.ts";
import { GrowingBytes } from "./growing-bytes.ts";
import { heldPieces } from "./held.ts";
import { parseJsonBody } from "./json-body.ts";

const JSON_TYPE = /^application\/([\w.+-]+\+)?json$/i;
const UTF8 = /^(utf-?8|us-ascii|ascii)$/i;
const SEND_JSON = "send JSON, with Content-Type: application/json";

/** What a body came as, without parameters; empty when it does not say. */
const typeOf = ({ headers }: FastifyRequest) => (headers["content-type"] ?? "").split(";")[0]!.trim().toLowerCase();

/** Reads the bodies of every route that brings no parser of its own. */
export function readBodies(app: FastifyInstance, bounds: Bounds): void {
  app.addHook("onRequest", async (request, reply) => {
    if (request.is404) return;
    const { headers, routeOptions } = request;
    const hasNone = headers["transfer-encoding"] === undefined && Number(headers["content-length"] ?? 0) === 0;
    if (hasNone) {
      if (routeOptions.schema?.consumes === undefined) delete headers["content-type"];
      return;
    }
    const encoding = (headers["content-encoding"] ?? "").trim().toLowerCase();
    if (encoding !== "" && encoding !== "identity") {
      reply.header("Accept-Encoding", "identity");
      const message = `bodies with Content-Encoding: ${encoding} are not read: send it as it is`;
      throw new Refused(415, "unsupported_encoding", message);
    }
  });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", async (request: FastifyRequest, body: IncomingMessage) =>
    request.is404 ? undefined : parse(request, heldPieces(request, body), bounds),
  );
  app.addHook("preValidation", async ({ body, routeOptions: { schema } }) => {
    if (schema?.operationId === undefined || schema.consumes !== undefined) return;
    if (schema.body === undefined) refuseFields(body);
    else if (body === undefined) throw new Refused(400, "not_json", `the body is empty: ${SEND_JSON}`);
  });
}

/** @throws {Refused} */
async function parse(request: FastifyRequest, pieces: AsyncIterable<Buffer>, { textBytes }: Bounds): Promise<unknown> {
  const type = typeOf(request);
  if (!JSON_TYPE.test(type)) {
    const head = await beginningOf(pieces);
    if (/^\s*$/.test(head.toString("latin1"))) return undefined;
    if (request.routeOptions.schema?.body === undefined && isEmptyForm(type, head)) return undefined;
    throw otherType(type, head);
  }
  const charset = /;\s*charset\s*=\s*"?([^\s";]+)/i.exec(request.headers["content-type"] ?? "")?.[1];
  if (charset !== undefined && !UTF8.test(charset)) {
    throw new Refused(415, "unsupported_charset", `the charset ${charset} is not read: send UTF-8`);
  }
  return parseJsonBody(pieces, textBytes, Number(request.headers["content-length"] ?? 0));
}

/** Whether it is a form without a field, as `new FormData()` is: its last boundary alone. */
const isEmptyForm = (type: string, body: Buffer) =>
  type === "multipart/form-data" && /^\s*--[^\r\n]*--\s*$/.test(body.toString("latin1"));

/** How many bytes of a body of another type are looked at to say what would be right. */
const MOST_LOOKED_AT = 65_536;

/** So many bytes at least, where there are so many; the rest is not read. */
async function beginningOf(pieces: AsyncIterable<Buffer>): Promise<Buffer> {
  const head = new GrowingBytes();
  for await (const piece of pieces) {
    head.append(piece);
    if (head.length >= MOST_LOOKED_AT) break;
  }
  return head.take();
}

function otherType(type: string, body: Buffer): Refused {
  const came = type === "" ? "the body came without a Content-Type" : `the body came as ${type}`;
  if (type.startsWith("multipart/")) {
    const how = "pictures go into it as data: URIs, https: addresses or uploads (POST /v1/uploads)";
    return new Refused(400, "not_json", `${came}: ${SEND_JSON}; ${how}`);
  }
  const isJson = /^\s*[{[]/.test(body.toString("latin1", 0, MOST_LOOKED_AT));
  const detail = isJson ? "it looks like JSON: send it with Content-Type: application/json" : SEND_JSON;
  return new Refused(400, "not_json", `${came}; ${detail}`);
}

/** @throws {Refused} when anything is said to a route that takes no body: what a client says is never ignored */
function refuseFields(body: unknown): void {
  if (body === undefined || body === null || body === "") return;
  const keys = typeof body === "object" ? Object.keys(body) : null;
  if (keys === null || Array.isArray(body)) throw new Refused(400, "invalid_request", "this takes no body");
  if (keys.length === 0) return;
  const [path] = keys.map((key) => key.slice(0, 100));
  throw new Refused(400, "invalid_request", `unknown field "${path}": this takes no body`, [
    { path: path!, message: "unknown field: this takes no body" },
  ]);
}
