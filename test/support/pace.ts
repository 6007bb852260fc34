import { setTimeout as sleep } from "node:timers/promises";

/**
 * Begins `count` things, `perSecond` of them a second, whether or not those before are done: what is slow keeps nothing
 * from being sent. `begin` gets the number and the moment (performance.now()) at which it was due, to count from.
 */
export async function pace(count: number, perSecond: number, begin: (n: number, due: number) => void): Promise<void> {
  const start = performance.now();
  for (let n = 0; n < count; n++) {
    const due = start + (n * 1000) / perSecond;
    const early = due - performance.now();
    if (early > 0) await sleep(early);
    begin(n, due);
  }
}

/** How many pictures of 150 steps, eight at most, take so many seconds where a step of one is done so many times a second. */
export function picturesFor(seconds: number, stepsPerSecond: number | null): number {
  return Math.min(8, Math.max(1, Math.ceil((seconds * (stepsPerSecond ?? 0)) / 150)));
}
