/** Answers that take their time, streams of events among them: so many clients at once, and none that does not read. */
import type { ServerResponse } from "node:http";
import { Readable } from "node:stream";
import type { FastifyReply } from "fastify";
import type { Service } from "./parts.ts";

/** Takes a place among those who follow events or wait for an end, until the answer is over. @throws {NotReady} when there is none */
export function takePlace({ followers }: Pick<Service, "followers">, owner: string, reply: FastifyReply): void {
  const follower = followers.open(owner);
  follower.add(1);
  reply.raw.once("close", () => follower.release());
}

/** Sends texts as they come; nothing is asked for before the client has taken what came before. */
export function sendEvents(
  { bounds }: Pick<Service, "bounds">,
  reply: FastifyReply,
  texts: AsyncIterable<string | Buffer>,
) {
  const stream = Readable.from(readInTime(texts, reply.raw, bounds.writeMs), { objectMode: false, highWaterMark: 1 });
  return reply
    .header("Content-Type", "text/event-stream")
    .header("Cache-Control", "no-store")
    .header("Connection", "close") // kept alive, it would keep a gateway that is asked to stop
    .header("X-Accel-Buffering", "no") // nginx would hold them back
    .send(stream as never);
}

/** The same texts; a client that does not read one in time is dropped, and can come again with the last that it has. */
async function* readInTime<Text extends string | Buffer>(
  texts: AsyncIterable<Text>,
  answer: ServerResponse,
  ms: number,
): AsyncGenerator<Text> {
  let late: NodeJS.Timeout | undefined;
  try {
    for await (const text of texts) {
      late = setTimeout(() => answer.destroy(), ms);
      yield text;
      clearTimeout(late);
    }
    answer.socket?.setTimeout(ms); // of the last one, which may be a whole picture, something is to be read each time
  } finally {
    clearTimeout(late);
  }
}
