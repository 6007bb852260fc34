/** Pictures for clients that wait for them in one request, as those of other systems do. */
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Dialect } from "../../config/config.ts";
import { NotReady, Refused } from "../../errors.ts";
import type { AnnotationRecord } from "../../jobs/annotation.ts";
import type { GenerationRecord } from "../../jobs/generation.ts";
import { hasEnded } from "../../jobs/record.ts";
import type { AnnotationInput } from "../../schema/annotation-request.ts";
import type { GenerationInput } from "../../schema/generation-request.ts";
import { acceptAnnotation, waitForAnnotation } from "../annotate.ts";
import { ownerOf } from "../auth.ts";
import { acceptGeneration, findPicture, waitForGeneration } from "../generate.ts";
import { idempotencyOf } from "../idempotency.ts";
import type { Service } from "../parts.ts";
import { submitterOf } from "../submitter.ts";
import { untilNoLonger } from "../waiting.ts";

/** A generation has ended without a picture, an annotation without a map. */
export class NotMade extends Error {
  override readonly name = "NotMade";
  /** "canceled", or why it failed. */
  readonly code: string;

  constructor({ id, object, status, error }: GenerationRecord | AnnotationRecord) {
    super(error === null ? `the ${object} "${id}" was ${status}` : `the ${object} "${id}" failed: ${error.message}`);
    this.code = error?.code ?? status;
  }
}

/** A picture as its file. */
export interface Made {
  readonly seed: number;
  readonly bytes: Buffer;
}

/** Accepts a generation of a dialect. Who asks again with the same Idempotency-Key gets the same one. @throws {Refused} */
export function acceptOf(service: Service, dialect: Dialect, request: FastifyRequest, input: GenerationInput) {
  return acceptGeneration(service, input, submitterOf(request, dialect));
}

/** Aborts when the client has gone or the gateway closes. */
export function whileWanted({ config }: Service, reply: FastifyReply, closing: AbortSignal): AbortSignal {
  return untilNoLonger(reply, closing, config.QUEUE_TIMEOUT + config.RUN_TIMEOUT);
}

/**
 * Ends what nobody waits for any more: its client has gone, and has no id to ask by. One that sent an Idempotency-Key may
 * come back, so its generation goes on.
 */
export async function cancelIfLeft(service: Service, request: FastifyRequest, reply: FastifyReply, id: string) {
  if (!reply.raw.destroyed || reply.raw.writableFinished || idempotencyOf(request) !== undefined) return;
  await service.queue.cancel(id).catch((error) => request.log.warn({ err: error, generation: id }, "cancel"));
  request.log.info({ generation: id }, "canceled: its client has gone");
}

/** The generation when it has its pictures. @throws {Refused} @throws {NotMade} @throws {NotReady} when the gateway stops meanwhile */
export async function waitForPictures(
  service: Service,
  request: FastifyRequest,
  reply: FastifyReply,
  accepted: GenerationRecord,
  closing: AbortSignal,
): Promise<GenerationRecord> {
  const signal = whileWanted(service, reply, closing);
  const record = await waitForGeneration(service, accepted, ownerOf(request), signal);
  if (!hasEnded(record)) {
    await cancelIfLeft(service, request, reply, record.id);
    reply.header("Connection", "close"); // kept alive, it would keep the gateway
    throw new NotReady([`the gateway stops; GET /v1/generations/${record.id} tells of the picture`]);
  }
  if (record.status !== "succeeded") throw new NotMade(record);
  return record;
}

/** A map, waited for. @throws {Refused} @throws {NotMade} @throws {NotReady} when the gateway stops meanwhile */
export async function annotateAtOnce(
  service: Service,
  request: FastifyRequest,
  reply: FastifyReply,
  input: AnnotationInput,
  closing: AbortSignal,
): Promise<AnnotationRecord> {
  const owner = ownerOf(request);
  const by = { ...submitterOf(request, "a1111"), idempotency: undefined }; // one of several of a request
  const accepted = await acceptAnnotation(service, input, by);
  const record = await waitForAnnotation(service, accepted, owner, whileWanted(service, reply, closing));
  if (!hasEnded(record)) {
    await cancelIfLeft(service, request, reply, record.id);
    reply.header("Connection", "close");
    throw new NotReady([`the gateway stops; GET /v1/annotations/${record.id} tells of the map`]);
  }
  if (record.status !== "succeeded") throw new NotMade(record);
  return record;
}

/** The files of all pictures of a generation. */
export async function filesOf(service: Service, owner: string, { id, images }: GenerationRecord): Promise<Made[]> {
  const made: Made[] = [];
  for (const [n, { seed }] of images.entries()) {
    const { read } = await findPicture(service, owner, id, String(n));
    made.push({ seed, bytes: await read() });
  }
  return made;
}

/** Answers a path that a dialect has no route for, or not with this method. @throws {Refused} */
export function answerOther(request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const { method, url } = request;
  const methods = request.server.methodsOf(url);
  const path = url.split("?")[0]!;
  if (methods.length === 0) throw notOffered(`${method} ${path}`, "there is no such route");
  reply.header("Allow", methods.join(", "));
  if (method === "OPTIONS") return reply.code(204).send();
  throw new Refused(405, "method_not_allowed", `there is no ${method} ${path}; it has ${methods.join(", ")}`);
}

/** What a dialect does not offer; the answer says why. */
export function notOffered(what: string, why: string): Refused {
  return new Refused(404, "not_offered", `${what} is not offered here: ${why}`);
}
