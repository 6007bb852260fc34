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
