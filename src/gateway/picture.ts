/** A picture as an answer: whole, a part of it (RFC 9110, 14), or nothing new (13.1.2). */
import type { FastifyReply, FastifyRequest } from "fastify";
import { Refused } from "../errors.ts";
import type { ImageRecord } from "../schema/generation.ts";

export interface FoundPicture {
  image: Pick<ImageRecord, "sha256" | "content_type">;
  read: () => Promise<Buffer>;
}

/** Sends what a GET of a picture's address asks for. @throws {Refused} 416 when no byte lies in the range */
export async function sendPicture(request: FastifyRequest, reply: FastifyReply, { image, read }: FoundPicture) {
  const etag = `"${image.sha256}"`;
  const { "if-none-match": known, "if-range": whole, range } = request.headers;
  const isKnown = namesTag(known, etag);
  const bytes = isKnown ? undefined : await read();
  reply.header("ETag", etag).header("Cache-Control", "private, immutable").header("Accept-Ranges", "bytes");
  if (bytes === undefined) return reply.code(304).send(undefined);
  reply.type(image.content_type);
  const part = whole === undefined || whole === etag ? partOf(range, bytes.length) : null;
  if (part === null) return reply.send(bytes);
  if (part === "none") {
    reply.header("Content-Range", `bytes */${bytes.length}`);
    throw new Refused(416, "no_such_range", `the picture has ${bytes.length} bytes, none of them in ${range}`);
  }
  const [first, last] = part;
  return reply
    .code(206)
    .header("Content-Range", `bytes ${first}-${last}/${bytes.length}`)
    .send(bytes.subarray(first, last + 1));
}

/** First and last byte of a `Range` of one part; null = the whole, as of several parts and of what is no range. */
function partOf(range: string | undefined, length: number): [first: number, last: number] | "none" | null {
  const [, from = "", to = ""] = /^bytes=(\d*)-(\d*)$/.exec(range?.trim() ?? "") ?? [];
  if (from === "" && to === "") return null;
  if (from === "") return Number(to) === 0 ? "none" : [Math.max(0, length - Number(to)), length - 1];
  const [first, last] = [Number(from), to === "" ? length - 1 : Math.min(Number(to), length - 1)];
  if (to !== "" && Number(to) < first) return null;
  return first < length ? [first, last] : "none";
}

/** Whether an `If-None-Match` header names the tag (RFC 9110 13.1.2: weak comparison). */
function namesTag(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false;
  return header.split(",").some((tag) => ["*", etag].includes(tag.trim().replace(/^W\//, "")));
}
