/** Connections to Redis: one that waits as long as Redis is away, for workers, and one that does not, for the gateway. */
import { setTimeout as sleep } from "node:timers/promises";
import { Redis, ReplyError } from "ioredis";
import { NotReady } from "../errors.ts";

/** How long the gateway waits for Redis before it answers 503. */
const DEADLINE_MS = 2000;

/** What Redis answers as long as it cannot do what it is asked: full, not able to save, a replica. Other errors are ours. */
const CANNOT_NOW = /^(BUSY|LOADING|MASTERDOWN|MISCONF|NOREPLICAS|OOM|READONLY)\b/;
/** How long a worker waits then before it asks again. */
const CANNOT_NOW_MS = 500;

/** A connection for a worker: commands wait as long as Redis is away, and go on when it is back. */
export function connectPatiently(url: string): Redis {
  return new Redis(url, { maxRetriesPerRequest: null, retryStrategy });
}

/** A connection for the gateway: a command fails at once when Redis is away. */
export function connectImpatiently(url: string): Redis {
  return new Redis(url, {
    maxRetriesPerRequest: null,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    connectTimeout: DEADLINE_MS,
    retryStrategy,
  });
}

/** The result of a command as soon as Redis can do it: it waits as long as Redis is full or loads. */
export async function whenItCan<T>(command: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await command();
    } catch (error) {
      if (!(error instanceof ReplyError) || !CANNOT_NOW.test((error as Error).message)) throw error;
      await sleep(CANNOT_NOW_MS);
    }
  }
}

function retryStrategy(times: number): number {
  return Math.min(50 * times, 500);
}

/**
 * The result of a command on an impatient connection.
 * @throws {NotReady} when Redis is away, or answers that it cannot now
 */
export async function withinDeadline<T>(redis: Redis, command: () => Promise<T>): Promise<T> {
  if (redis.status !== "ready") throw new NotReady(["Redis is away"]);
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new NotReady([`Redis has not answered for ${DEADLINE_MS} ms`])), DEADLINE_MS);
  });
  try {
    return await Promise.race([command(), deadline]);
  } catch (cause) {
    if (cause instanceof NotReady) throw cause;
    if (!(cause instanceof ReplyError)) throw new NotReady(["Redis is away"], { cause });
    const { message } = cause as Error;
    throw CANNOT_NOW.test(message) ? new NotReady([`Redis answers ${message}`], { cause }) : cause;
  } finally {
    clearTimeout(timer);
  }
}
