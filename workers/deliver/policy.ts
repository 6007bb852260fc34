/** When a webhook is tried, and what becomes of it after an attempt. */
import type { AttemptAnswer } from "./attempt.ts";

/** When an event is tried, and for how long. */
export interface Policy {
  /** Before each attempt, in ms after the one before; the first is made at once. */
  readonly waits: readonly number[];
  /** The share by which a wait may be longer, at random, so that what failed together does not come back together. */
  readonly jitter: number;
  /** The longest `Retry-After` that is honoured, in ms. */
  readonly longestWait: number;
  /** From the look-up of the address to the end of the answer, in ms. */
  readonly timeLimit: number;
  /** How long after an attempt's begin it is thought dead, in ms: more than the time limit. */
  readonly lease: number;
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** Svix's schedule (https://docs.svix.com/retries): 27 h 35 min in all. */
export const POLICY: Policy = {
  waits: [0, 5 * SECOND, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 10 * HOUR],
  jitter: 0.1,
  longestWait: 12 * HOUR,
  timeLimit: 15 * SECOND,
  lease: 20 * SECOND,
};

/** What becomes of a delivery after an attempt; `tries` counts that one. */
export function outcomeOf({ error, final, retryAfterMs = 0 }: AttemptAnswer, tries: number, policy: Policy) {
  if (error === null) return { status: "delivered" } as const;
  const wait = policy.waits[tries];
  if (final || wait === undefined) return { status: "failed" } as const;
  const waitMs = Math.max(wait * (1 + policy.jitter * Math.random()), Math.min(retryAfterMs, policy.longestWait));
  return { status: "pending", waitMs } as const;
}
