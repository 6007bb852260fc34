/** Which of the jobs that wait one that runs gives way to. */
import type { Redis } from "ioredis";
import { script } from "../redis/script.ts";
import type { Claim } from "./attempt.ts";
import { recordKey, SCRIPT_NAMES } from "./keys.ts";

/** For so long no second worker gives way to the same job. */
const GIVING_MS = 30_000;

/** A job that another one gives way to. */
export interface Shorter {
  id: string;
  /** As much work as it is, or what is left of it. */
  cost: number;
  isMoreUrgent: boolean;
}

const runShorter = script(new URL("lua/shorter.lua", import.meta.url), SCRIPT_NAMES);

/**
 * The job to give way to: one that waits and is more urgent than the one that runs, or as urgent and at most half of what is
 * `left` of it; null = none, or other workers do. `urgentOnly`: none that is as urgent.
 */
export async function shorterThan(
  redis: Redis,
  { record: { id } }: Pick<Claim, "record">,
  left: number,
  urgentOnly = false,
): Promise<Shorter | null> {
  const found = await runShorter(redis, [recordKey(id)], left, urgentOnly ? 1 : 0, GIVING_MS);
  if (found === null) return null;
  const [first, cost, urgent] = found as [string, number, number];
  return { id: first, cost, isMoreUrgent: urgent === 1 };
}

const runGoFirst = script(new URL("lua/go-first.lua", import.meta.url), SCRIPT_NAMES);

/** Gives a job that waits the turn that is taken now. False when it waits no more. */
export async function goFirst(redis: Redis, id: string): Promise<boolean> {
  return (await runGoFirst(redis, [recordKey(id)])) === 1;
}
