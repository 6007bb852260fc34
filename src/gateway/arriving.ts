/** Bodies as they come in: slow ones for as long as they need, idle ones not. */
import type { IncomingMessage } from "node:http";
import { setImmediate } from "node:timers/promises";
import { Refused } from "../errors.ts";
import type { Bounds } from "./bounds.ts";

/** So much of a body is taken in a turn of the event loop: of a quick client Node reads megabytes at once. */
const TURN_BYTES = 64 * 1024;

/**
 * The pieces of a body. What is not read of it is left to come, so that the client can be answered.
 * @throws {Refused} 408 when too little comes; the time in which nobody asks for more does not count
 */
export async function* arriving(
  body: IncomingMessage,
  { idleMs, idleBytes }: Pick<Bounds, "idleMs" | "idleBytes">,
): AsyncGenerator<Buffer> {
  const pieces = body.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer>;
  let giveUp: ((error: Refused) => void) | undefined;
  let [bytes, seen, ofTurn] = [0, 0, 0];
  const look = setInterval(() => {
    if (bytes - seen < idleBytes) giveUp?.(tooSlow(idleMs, idleBytes));
    seen = bytes;
  }, idleMs);
  try {
    for (;;) {
      const next = await new Promise<IteratorResult<Buffer>>((resolve, reject) => {
        giveUp = reject;
        pieces.next().then(resolve, reject);
      });
      giveUp = undefined;
      if (next.done) return;
      bytes += next.value.length;
      ofTurn += next.value.length;
      yield next.value;
      if (ofTurn < TURN_BYTES) continue;
      ofTurn = 0;
      await setImmediate(); // whoever else waits goes first
    }
  } finally {
    clearInterval(look);
  }
}

function tooSlow(idleMs: number, idleBytes: number): Refused {
  return new Refused(408, "too_slow", `fewer than ${idleBytes} bytes of the body came in ${idleMs / 1000} s`);
}

/** @throws {Refused} 413 when there are more bytes than `most`, as soon as that is known */
export async function* upTo(most: number, what: string, pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let bytes = 0;
  for await (const piece of pieces) {
    bytes += piece.length;
    if (bytes > most) throw tooLargeBody(most, what);
    yield piece;
  }
}

export function tooLargeBody(most: number, what: string): Refused {
  return new Refused(413, "body_too_large", `${what} has more than the ${most} bytes that are allowed`);
}
