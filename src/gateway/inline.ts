/** Pictures in the answer itself: the first one's bytes for `Accept: image/png`, all as base64 for `"response": "base64"`. */
import type { FastifyReply, FastifyRequest } from "fastify";
import { Refused } from "../errors.ts";
import { type GenerationRecord, generation } from "../jobs/generation.ts";
import type { Generation } from "../schema/generation.ts";
import { CONTENT_TYPES, type GenerationInput, OutputFormat } from "../schema/generation-request.ts";
import { acceptedFormats, refuseOtherPictures } from "./accepted-picture.ts";
import { ownerOf } from "./auth.ts";
import { findPicture } from "./generate.ts";
import type { Service } from "./parts.ts";
import { sendPicture } from "./picture.ts";
import { problem, sendProblem } from "./problems.ts";
import { preferredWait } from "./waiting.ts";

/** The formats in which the picture itself is to be the answer; none where JSON is wanted, or nobody waits. */
function wantedFormats({ headers }: FastifyRequest): OutputFormat[] {
  return preferredWait(headers.prefer as string | undefined) === undefined ? [] : acceptedFormats(headers.accept);
}

/** Before validation: a request that names no format is made in the one that its `Accept` asks for. */
export async function chooseFormat(request: FastifyRequest): Promise<void> {
  const [best] = wantedFormats(request);
  const { body } = request;
  if (best === undefined || typeof body !== "object" || body === null || Array.isArray(body)) return;
  if ((body as Record<string, unknown>).output_format == null) request.body = { ...body, output_format: best };
}

/** @throws {Refused} 406 when the picture would be of a type that `Accept` does not name */
export function checkFormat(request: FastifyRequest, { output_format }: Pick<GenerationInput, "output_format">): void {
  const { accept, prefer } = request.headers;
  if (preferredWait(prefer as string | undefined) !== undefined) refuseOtherPictures(accept, OutputFormat.options);
  const wanted = wantedFormats(request);
  if (wanted.length === 0 || wanted.includes(output_format)) return;
  const types = wanted.map((format) => CONTENT_TYPES[format]).join(", ");
  const message = `is ${output_format}, but Accept asks for ${types}: leave one of the two out`;
  throw new Refused(406, "not_acceptable", `output_format ${message}`, [{ path: "output_format", message }]);
}

/** The generation as clients see it, with the bytes of its pictures where its request asks for them. */
export async function withBytes(
  service: Service,
  request: FastifyRequest,
  record: GenerationRecord,
): Promise<Generation> {
  const shown = generation.show(record, request.addresses);
  if (record.request.response !== "base64") return shown;
  const images: Generation["images"] = [];
  for (const [n, image] of shown.images.entries()) {
    const { read } = await findPicture(service, ownerOf(request), record.id, String(n));
    images.push({ ...image, base64: (await read()).toString("base64") });
  }
  return { ...shown, images };
}

/** Answers with a generation that has ended: with its first picture, or why there is none, where that is what is wanted. */
export async function sendEnded(
  service: Service,
  request: FastifyRequest,
  reply: FastifyReply,
  record: GenerationRecord,
): Promise<FastifyReply> {
  if (wantedFormats(request).length === 0) {
    return reply.type("application/json").send(await withBytes(service, request, record));
  }
  reply.header("X-Generation-Id", record.id);
  const { status, error } = record;
  if (status === "canceled") return sendProblem(reply, problem(409, "canceled", "the generation was canceled"));
  if (status !== "succeeded") {
    return sendProblem(reply, problem(500, error?.code ?? "generation_failed", error?.message ?? "it failed"));
  }
  const found = await findPicture(service, ownerOf(request), record.id, "0");
  const { url, seed } = generation.show(record, request.addresses).images[0]!;
  reply.header("Content-Location", url).header("X-Seed", String(seed));
  return sendPicture(request, reply, found);
}
