/** Holding an answer until what it waits for has happened. */
import type { FastifyReply } from "fastify";
import { MAX_WAIT_SECONDS } from "../schema/fields.ts";
import { endTurn } from "./turns.ts";

/** Seconds of `Prefer: wait=N` (RFC 7240); a bare `wait` is the longest. What it does not understand it ignores. */
export function preferredWait(prefer: string | undefined): number | undefined {
  const match = /(?:^|[,;\s])wait(?:\s*=\s*"?(\d+)"?)?\s*(?:$|[,;])/i.exec(prefer ?? "");
  return match === null ? undefined : Math.min(Number(match[1] ?? MAX_WAIT_SECONDS), MAX_WAIT_SECONDS);
}

/**
 * Aborts when the answer is sent or its client has gone, when the gateway closes, or after so many seconds. Not
 * AbortSignal.any, which never lets go of a timeout that does not come (Node 24).
 */
export function untilNoLonger(reply: FastifyReply, closing: AbortSignal, seconds: number): AbortSignal {
  endTurn(reply.request);
  const over = new AbortController();
  const end = () => over.abort();
  if (closing.aborted || reply.raw.destroyed || reply.raw.writableFinished) {
    end(); // a "close" that has been does not come again
    return over.signal;
  }
  const timer = setTimeout(end, seconds * 1000);
  closing.addEventListener("abort", end);
  reply.raw.once("close", () => {
    clearTimeout(timer);
    closing.removeEventListener("abort", end);
    end();
  });
  return over.signal;
}
