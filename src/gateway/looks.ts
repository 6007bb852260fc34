import { setImmediate } from "node:timers/promises";
import { type JobEvent, readEvents } from "../jobs/events.ts";
import { recordKey } from "../jobs/keys.ts";
import type { JobQueue } from "../jobs/queue.ts";

/** So many go on in one turn of the event loop: each has something to write then. */
const AT_ONCE = 128;

/** A job's status, null = there is no such job; and the next events. */
type Look = [status: string | null, found: JobEvent[]];

/**
 * Looks at jobs' events. Of those who ask for the same in one turn of the event loop, as a thousand do whom the same event has
 * woken, one asks Redis, and all get the same: a few at a time, so that whoever else waits has a turn between them.
 */
export class Looks {
  readonly #queue: Pick<JobQueue, "ask">;
  /** Not begun yet: whoever joins one has been listening before it. */
  readonly #next = new Map<string, { asked: number; found: Promise<Look> }>();

  constructor(queue: Pick<JobQueue, "ask">) {
    this.#queue = queue;
  }

  /** The status and the events after the one with the id `last`; of a job that had ended by then, all events are there. */
  look(id: string, last: string): Promise<Look> {
    const what = `${id} ${last}`;
    const known = this.#next.get(what) ?? { asked: 0, found: this.#begin(what, id, last) };
    this.#next.set(what, known);
    if (known.asked > 0 && known.asked % AT_ONCE === 0) known.found = inNextTurn(known.found);
    known.asked++;
    return known.found;
  }

  async #begin(what: string, id: string, last: string): Promise<Look> {
    await setImmediate();
    this.#next.delete(what);
    return this.#queue.ask((redis) => Promise.all([redis.hget(recordKey(id), "status"), readEvents(redis, id, last)]));
  }
}

/** What was found, a turn of the event loop after those who go on before. */
async function inNextTurn<T>(found: Promise<T>): Promise<T> {
  const value = await found;
  await setImmediate();
  return value;
}
