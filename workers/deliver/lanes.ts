/**
 * Room for attempts under way, so that one endpoint that hangs, or one owner of many, cannot hold every place while the
 * webhooks of others wait. A lane is an owner, or the host that an address leads to.
 */
import type { Taken } from "../../src/webhooks/outbox.ts";

/** How many attempts a process makes at once; nearly all of them only wait. */
export const PLACES = 256;
const PLACES_OF_OWNER = 128;
const PLACES_OF_HOST = 64;
const SHORTEST_WAIT_MS = 20;

interface UnderWay {
  readonly since: number;
}

export class Lanes {
  readonly #lanes = new Map<string, Set<UnderWay>>(); // a lane's attempts, the oldest first

  /**
   * Takes a place in both lanes, to be left by the function that comes back. A number comes back when one is full: after
   * so many milliseconds to try again, which is as long as its oldest attempt has taken by now. So little is lost where
   * answers come fast, and a crowd before a host that hangs looks in ever less often.
   */
  enter({ owner, url }: Pick<Taken, "owner" | "url">): (() => void) | number {
    const names = [
      { name: `owner ${owner}`, places: PLACES_OF_OWNER },
      { name: `host ${new URL(url).host}`, places: PLACES_OF_HOST },
    ];
    const now = Date.now();
    for (const { name, places } of names) {
      const lane = this.#lanes.get(name);
      const [oldest] = lane ?? [];
      if (oldest && lane!.size >= places) return Math.max(now - oldest.since, SHORTEST_WAIT_MS);
    }
    const attempt: UnderWay = { since: now };
    for (const { name } of names) this.#lanes.set(name, (this.#lanes.get(name) ?? new Set()).add(attempt));
    return () => {
      for (const { name } of names) {
        const lane = this.#lanes.get(name)!;
        lane.delete(attempt);
        if (lane.size === 0) this.#lanes.delete(name);
      }
    };
  }
}
