/** What each error means in HTTP: problem documents (RFC 9457). Those below 500 say what is wrong; the others do not. */
import { STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import type { FastifyBaseLogger, FastifyError, FastifyReply } from "fastify";
import { hasZodFastifySchemaValidationErrors } from "fastify-type-provider-zod";
import { type FieldError, NotReady, Refused } from "../errors.ts";
import { MOST_SHOWN } from "../schema/closed.ts";
import type { Problem } from "../schema/problem.ts";

/** Fastify's own errors that a client can cause. Any other from it that is below 500 is an invalid request too. */
const FASTIFY_ERRORS: Record<string, { status: number; code: string; detail?: string }> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: {
    status: 400,
    code: "not_json",
    detail: "send JSON, with Content-Type: application/json",
  },
};

/** Seconds after which a client may ask again, where nothing better is known. */
const RETRY_AFTER: Record<number, string> = { 429: "5", 503: "1" };

export function problem(status: number, code: string, detail: string, errors: FieldError[] = []): Problem {
  return { type: "about:blank", title: STATUS_CODES[status] ?? "Error", status, code, detail, errors };
}

/** @param bodyLimit the most bytes that the request may have */
export function problemOf(error: FastifyError | Error, log: FastifyBaseLogger, bodyLimit?: number): Problem {
  if (error instanceof Refused) return problem(error.status, error.code, error.message, error.errors);
  if (error instanceof NotReady) {
    log.warn({ reasons: error.reasons, err: error.cause }, "not ready"); // where it was thrown says nothing, and takes its time
    return problem(503, "not_ready", `${error.message}; try again later`);
  }
  if (hasZodFastifySchemaValidationErrors(error)) {
    const errors = error.validation.flatMap(({ keyword, instancePath, message = "invalid", params }) => {
      if (keyword !== "unrecognized_keys") return [{ path: dotted(instancePath), message }];
      const keys = (params.keys as string[]).map((key) => key.slice(0, MOST_SHOWN)); // a line of the message is for each
      return message
        .split("\n")
        .map((line, i) => ({ path: dotted(`${instancePath}/${keys[i] ?? ""}`).replace(/\.$/, ""), message: line }));
    });
    const detail = errors.map(({ path, message }) => (path === "" ? message : `${path}: ${message}`)).join("; ");
    return problem(400, "invalid_request", detail, errors);
  }
  const { code, statusCode = 500 } = error as FastifyError;
  if (code === "FST_ERR_CTP_BODY_TOO_LARGE") {
    return problem(413, "body_too_large", `the body has more than the ${bodyLimit ?? ""} bytes that are allowed`);
  }
  const known = FASTIFY_ERRORS[code];
  if (known) return problem(known.status, known.code, known.detail ?? error.message);
  if (statusCode >= 400 && statusCode < 500) return problem(statusCode, "invalid_request", error.message);
  log.error({ err: error }, "internal error");
  return problem(500, "internal", "an error of the service, not of the request; its log says more");
}

export function sendProblem(reply: FastifyReply, body: Problem): FastifyReply {
  return sendError(reply, body.status, "application/problem+json", body);
}

/** An error in whatever shape, with the headers that its status asks for. */
export function sendError(reply: FastifyReply, status: number, type: string, body: object): FastifyReply {
  if (status === 401) reply.header("WWW-Authenticate", "Bearer");
  const retryAfter = RETRY_AFTER[status];
  if (retryAfter !== undefined && !reply.hasHeader("Retry-After")) reply.header("Retry-After", retryAfter);
  return reply.code(status).header("Content-Type", type).serializer(JSON.stringify).send(body);
}

/** What Node's parser says of bytes that are no request; any other is 400. */
const NOT_HTTP: Record<string, [status: number, code: string, detail: string]> = {
  ERR_HTTP_REQUEST_TIMEOUT: [408, "too_slow", "the request took too long to arrive"],
  HPE_HEADER_OVERFLOW: [431, "headers_too_large", "the request's head is too large"],
};

/** Answers what was no HTTP request, and so is no Fastify request either, and closes the connection. */
export function refuseBytes(error: NodeJS.ErrnoException, socket: Socket): void {
  if (socket.writable && error.code !== "ECONNRESET") {
    const [status, code, detail] = NOT_HTTP[error.code ?? ""] ?? [400, "not_http", "this is not an HTTP request"];
    const body = JSON.stringify(problem(status, code, detail));
    const head = `Content-Type: application/problem+json\r\nContent-Length: ${body.length}\r\nConnection: close`;
    socket.write(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${head}\r\n\r\n${body}`);
  }
  socket.destroy();
}

/** `/controls/0/image` as `controls[0].image`. */
function dotted(pointer: string): string {
  return pointer
    .replace(/\/(\d+)(?=\/|$)/g, "[$1]")
    .replaceAll(/\/+/g, ".")
    .replace(/^\./, "");
}
