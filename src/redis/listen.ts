/** Waiting for messages of Redis' pub/sub channels, by the id that each message is. */
import type { Redis } from "ioredis";
import { connectPatiently } from "./connection.ts";

/** Whoever waits for messages about an id. */
export interface Listening extends Disposable {
  /** Resolves at the first message since listening began, when `signal` aborts, or when the time is over. */
  next(signal: AbortSignal, milliseconds: number): Promise<void>;
}

/** One subscription for all who wait in this process. */
export class Listener {
  readonly #subscriber: Redis;
  /** By channel and id: whoever waits for the next message. */
  readonly #waiting = new Map<string, Set<() => void>>();

  /** `onError` hears of connection errors, which are no caller's to handle. */
  constructor(url: string, channels: readonly string[], onError: (error: Error) => void) {
    this.#subscriber = connectPatiently(url);
    this.#subscriber.on("error", onError);
    this.#subscriber.on("message", (channel, id) => this.#wake(`${channel} ${id}`));
    this.#subscriber.on("ready", () => {
      for (const topic of this.#waiting.keys()) this.#wake(topic); // what was published meanwhile was missed: look again
    });
    this.#subscriber.subscribe(...channels).catch(onError);
  }

  /** Listens for messages of a channel about an id, from now on. */
  listen(channel: string, id: string): Listening {
    const topic = `${channel} ${id}`;
    const { promise: woken, resolve: wake } = Promise.withResolvers<void>();
    const waiting = this.#waiting.get(topic) ?? new Set();
    this.#waiting.set(topic, waiting.add(wake));
    return {
      async next(signal, milliseconds) {
        const { promise: over, resolve: end } = Promise.withResolvers<unknown>();
        const timer = setTimeout(end, milliseconds);
        signal.addEventListener("abort", end);
        if (!signal.aborted) await Promise.race([woken, over]);
        signal.removeEventListener("abort", end);
        clearTimeout(timer);
      },
      [Symbol.dispose]: () => {
        waiting.delete(wake);
        if (waiting.size === 0 && this.#waiting.get(topic) === waiting) this.#waiting.delete(topic);
      },
    };
  }

  #wake(topic: string): void {
    for (const wake of this.#waiting.get(topic) ?? []) wake();
  }

  close(): void {
    this.#subscriber.disconnect();
  }
}
