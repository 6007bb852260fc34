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

  /** @throws the signal's reason as soon as it aborts, where there was no place before */
  take<T>(owner: string, task: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const giveUp = () => reject(signal!.reason);
    const begin = () => {
      signal?.throwIfAborted();
      signal?.removeEventListener("abort", giveUp);
      return task();
    };
    signal?.addEventListener("abort", giveUp);
    this.#wait(owner, begin, signal).then(resolve, reject);
    return promise;
  }

  async #wait<T>(owner: string, begin: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    const own = this.#owners.get(owner) ?? pLimit(this.#ofOwner);
    this.#owners.set(owner, own);
    try {
      return await own(() => {
        signal?.throwIfAborted();
        return this.#all(begin);
      });
    } finally {
      if (own.activeCount + own.pendingCount === 0) this.#owners.delete(owner);
    }
  }
}
