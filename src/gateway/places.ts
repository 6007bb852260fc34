import pLimit, { type LimitFunction } from "p-limit";

/**
 * Places at what only a few can do at once. Tasks of one owner wait for one another, so that whoever comes finds at most
 * `ofOwner` of each other owner ahead, however many they are.
 */
export class Places {
  readonly #ofOwner: number;
  readonly #all: LimitFunction;
  /** Of the owners that have or await a place. */
  readonly #owners = new Map<string, LimitFunction>();

  constructor(atOnce: number, ofOwner: number) {
    this.#all = pLimit(atOnce);
    this.#ofOwner = ofOwner;
  }

  /** @throws the signal's reason when it has aborted before there was a place */
  async take<T>(owner: string, task: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const own = this.#owners.get(owner) ?? pLimit(this.#ofOwner);
    this.#owners.set(owner, own);
    try {
      return await own(() => {
        signal?.throwIfAborted();
        return this.#all(() => {
          signal?.throwIfAborted();
          return task();
        });
      });
    } finally {
      if (own.activeCount + own.pendingCount === 0) this.#owners.delete(owner);
    }
  }
}
