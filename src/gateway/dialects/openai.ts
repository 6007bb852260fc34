/** OpenAI's images API, beside our own routes of `/v1`: what clients of it send becomes a generation (docs/dialects.md). */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { FastifyPluginAsyncZod, ZodTypeProvider } from "fastify-type-provider-zod";
import { generation } from "../../jobs/generation.ts";
import { closed } from "../../schema/closed.ts";
import type { Problem } from "../../schema/problem.ts";
import { ownerOf } from "../auth.ts";
import { sendEvents, takePlace } from "../event-stream.ts";
import type { Service } from "../parts.ts";
import { problem, problemOf, sendError } from "../problems.ts";
import { acceptOf, cancelIfLeft, filesOf, NotMade, notOffered, waitForPictures, whileWanted } from "./at-once.ts";
import { fromText, takeForms } from "./form.ts";
import { asGeneration } from "./openai/edit.ts";
import { EditBody, GenerateBody, readBody } from "./openai/request.ts";
import { type EventName, NO_TOKENS, tell } from "./openai/stream.ts";

/** OpenAI's `type` and `code` of our codes; of others the type goes by the status, and the code is ours. */
const CODES: Record<string, { status: number; code: string }> = {
  unknown_model: { status: 404, code: "model_not_found" },
  unauthorized: { status: 401, code: "invalid_api_key" },
  rate_limited: { status: 429, code: "rate_limit_exceeded" },
};

interface OpenAiError {
  status: number;
  body: { error: { message: string; type: string; param: string | null; code: string } };
}

function errorOf({ status, code, detail, errors }: Problem): OpenAiError {
  const known = CODES[code] ?? { status: status === 422 ? 400 : status, code };
  const type = known.status >= 500 ? "server_error" : known.status === 429 ? "requests" : "invalid_request_error";
  const error = { message: detail, type, param: errors[0]?.path ?? null, code: known.code };
  return { status: known.status, body: { error } };
}

/** What is said of an error: one of a picture that was not made is told as it is. */
function told(error: Error, request: FastifyRequest): OpenAiError {
  if (!(error instanceof NotMade)) return errorOf(problemOf(error, request.log, request.routeOptions.bodyLimit));
  return errorOf(problem(error.code === "canceled" ? 400 : 500, error.code, error.message));
}

const options = { config: { ownKeys: true } };
const hidden = { hide: true, querystring: closed({}) };

/** `POST /v1/images/generations`, `/edits`; `/variations`, which OpenAI has retired, is refused. */
export const openai: FastifyPluginAsyncZod<Service> = async (app, service) => {
  const closing = new AbortController();
  app.addHook("preClose", async () => closing.abort());
  app.setErrorHandler((error: Error, request, reply) => {
    const { status, body } = told(error, request);
    if (error instanceof NotMade) reply.header("X-Should-Retry", "false"); // it would fail again
    return sendError(reply, status, "application/json", body);
  });
  takeForms(app);
  generations(app, service, closing.signal);
  edits(app, service, closing.signal);
  app.post("/v1/images/variations", { schema: hidden }, async () => {
    throw notOffered("variations", "send the image to /v1/images/edits, with a prompt and strength");
  });
};

function generations(app: FastifyInstance, service: Service, closing: AbortSignal): void {
  const typed = app.withTypeProvider<ZodTypeProvider>();
  typed.post("/v1/images/generations", { ...options, schema: { ...hidden, body: GenerateBody } }, (request, reply) =>
    make(service, request, reply, request.body, { name: "image_generation", closing }),
  );
}

function edits(app: FastifyInstance, service: Service, closing: AbortSignal): void {
  const preValidation = async (request: FastifyRequest) => {
    if (request.headers["content-type"]?.startsWith("multipart/")) request.body = fromText(EditBody, request.body);
  };
  const typed = app.withTypeProvider<ZodTypeProvider>();
  typed.post(
    "/v1/images/edits",
    { ...options, schema: { ...hidden, body: EditBody }, preValidation },
    async (request, reply) => {
      const body = await asGeneration(service, request.body, ownerOf(request));
      return make(service, request, reply, body, { name: "image_edit", closing });
    },
  );
}

/** Answers with the pictures, or with the stream of their becoming. */
async function make(
  service: Service,
  request: FastifyRequest,
  reply: FastifyReply,
  body: GenerateBody,
  { name, closing }: { name: EventName; closing: AbortSignal },
) {
  const { input, wanted } = readBody(body);
  takePlace(service, ownerOf(request), reply);
  const accepted = await acceptOf(service, "openai", request, input);
  const finish = async () => {
    const record = await waitForPictures(service, request, reply, accepted, closing);
    return { record, files: await filesOf(service, ownerOf(request), record) };
  };
  if (wanted.stream) {
    const signal = whileWanted(service, reply, closing);
    const errorOfStream = (error: Error) => told(error, request).body;
    const stream = tell(
      service,
      accepted,
      { name, partialImages: wanted.partialImages, finish, errorOf: errorOfStream },
      signal,
    );
    reply.raw.once("close", () => void cancelIfLeft(service, request, reply, accepted.id));
    return sendEvents(service, reply, stream);
  }
  const { record, files } = await finish();
  const { width, height, output_format } = record.request;
  const { images } = generation.show(record, request.addresses);
  return reply.send({
    created: Math.floor(Date.parse(record.created_at) / 1000),
    background: "opaque",
    output_format,
    size: `${width}x${height}`,
    data: files.map(({ bytes }, i) => ({
      ...(wanted.format !== "b64_json" && { url: images[i]!.url }),
      ...(wanted.format !== "url" && { b64_json: bytes.toString("base64") }),
    })),
    usage: NO_TOKENS,
  });
}
