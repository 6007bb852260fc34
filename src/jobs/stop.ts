/** Ending a job from outside of its worker: a cancel, or the end of its time in the queue. */
import type { Redis } from "ioredis";
import { script } from "../redis/script.ts";
import { recordKey, SCRIPT_NAMES } from "./keys.ts";
import type { JobRecord } from "./kinds.ts";

const runRequestCancel = script(new URL("lua/request-cancel.lua", import.meta.url), SCRIPT_NAMES);

/** Cancels a job that waits; asks the worker of one that runs to stop. "ended": it is too late. */
export async function requestCancel(redis: Redis, id: string): Promise<"canceled" | "processing" | "ended"> {
  return (await runRequestCancel(redis, [recordKey(id)])) as "canceled" | "processing" | "ended";
}

const runGiveUp = script(new URL("lua/give-up.lua", import.meta.url), SCRIPT_NAMES);

/** Fails a job that no worker has taken; false when one has, meanwhile. */
export async function giveUpWaiting(redis: Redis, id: string, error: NonNullable<JobRecord["error"]>) {
  return (await runGiveUp(redis, [recordKey(id)], JSON.stringify(error))) === 1;
}
