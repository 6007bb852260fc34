/** Bodies and answers that are held in memory: so many bytes at once, and as long as something moves. */
import type { IncomingMessage } from "node:http";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { arriving, tooLargeBody, upTo } from "./arriving.ts";
import { ownerOf } from "./auth.ts";
import type { Bounds } from "./bounds.ts";
import { GrowingBytes } from "./growing-bytes.ts";
import type { Share, Shares } from "./shares.ts";

/** Answers of fewer bytes are not counted: those that refuse something among them. */
const LARGE_ANSWER_BYTES = 64 * 1024;

/** What each request, its body and its answer, has of the bytes that are held, and within which bounds. */
const counted = new WeakMap<FastifyRequest, { share: Share; bounds: Bounds }>();

/** Counts what is held for the requests of all routes that are made after it. */
export function countHeld(app: FastifyInstance, held: Shares, bounds: Bounds): void {
  app.addHook("preParsing", async (request, reply) => {
    const share = held.open(ownerOf(request));
    counted.set(request, { share, bounds });
    reply.raw.once("close", () => share.release());
  });
  app.addHook("onSend", async (request, _reply, answer) => {
    const bytes = typeof answer === "string" || Buffer.isBuffer(answer) ? answer.length : 0;
    if (bytes < LARGE_ANSWER_BYTES) return;
    counted.get(request)?.share.add(bytes);
    const { socket } = request.raw;
    socket.setTimeout(bounds.writeMs); // the connection is ended when nothing of it is read for so long
    socket.pause(); // what the client sends while it should read is no sign that it reads: it is heard after the answer
  });
}

/** What the installation bounds requests by. */
export const boundsFor = (request: FastifyRequest): Bounds => counted.get(request)!.bounds;

/** A body in one buffer, for routes that take bytes. */
export async function readBytes(request: FastifyRequest, body: IncomingMessage): Promise<Buffer> {
  const bytes = new GrowingBytes(Number(request.headers["content-length"] ?? 0)); // made when the first are there: see heldPieces
  for await (const piece of heldPieces(request, body)) bytes.append(piece);
  return bytes.take();
}

/** Lets go of a body that is not needed any more, when the answer takes its time. */
export function letGo(request: FastifyRequest): void {
  (request as { body: unknown }).body = undefined;
  counted.get(request)?.share.release();
}

/**
 * The pieces of a body that will be in memory until its request is answered.
 * @throws {NotReady} before the first when there is no room for what is announced; later when nothing was
 * @throws {Refused} 413, 408
 */
export async function* heldPieces(request: FastifyRequest, body: IncomingMessage): AsyncGenerator<Buffer> {
  const { bodyLimit: most } = request.routeOptions;
  const { share, bounds } = counted.get(request)!;
  const announced = Number(request.headers["content-length"] ?? 0);
  if (announced > most) throw tooLargeBody(most, "the body");
  share.add(announced);
  for await (const piece of upTo(most, "the body", arriving(body, bounds))) {
    if (announced === 0) share.add(piece.length);
    yield piece;
  }
}
