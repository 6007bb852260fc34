/** The events of a job as they come, for whoever streams them. */
import { isFinal, type JobEvent } from "../jobs/events.ts";
import { hasEnded } from "../jobs/record.ts";
import type { Service } from "./parts.ts";

/** How long it goes without looking, should a message be lost with a connection to Redis. */
const LOOK_AGAIN_MS = 5000;
/** And when Redis has not answered. */
const REDIS_AWAY_MS = 500;

/**
 * The events from after the one with the id `last` to the final one; null when there was none for so many ms. It ends when
 * `signal` aborts. Redis may go and come back meanwhile.
 */
export async function* follow(
  { queue, looks, bounds: { silenceMs } }: Pick<Service, "queue" | "looks" | "bounds">,
  id: string,
  last: string,
  signal: AbortSignal,
): AsyncGenerator<JobEvent | null> {
  let heard = performance.now();
  while (!signal.aborted) {
    using listening = queue.listenForEvents(id); // before the look, so that no event falls between the two
    const [status, found] = await looks.look(id, last).catch(() => [undefined, undefined]);
    for (const event of found ?? []) {
      yield event;
      last = event.id;
      heard = performance.now();
      if (isFinal(last)) return;
    }
    if (found !== undefined && found.length > 0) continue;
    if (status === null || (status !== undefined && hasEnded({ status }))) return; // deleted, or nothing can follow
    const silence = Math.max(1, silenceMs - (performance.now() - heard));
    await listening.next(signal, found === undefined ? REDIS_AWAY_MS : Math.min(LOOK_AGAIN_MS, silence));
    if (performance.now() - heard >= silenceMs) {
      yield null;
      heard = performance.now();
    }
  }
}
