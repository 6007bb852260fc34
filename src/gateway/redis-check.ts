/** Says in the log at the start what is not as it should be with Redis, once that answers. */
import { setTimeout as sleep } from "node:timers/promises";
import type { FastifyInstance } from "fastify";
import type { JobQueue } from "../jobs/queue.ts";
import { clockAhead, faultsOf } from "../redis/promises.ts";

/** How long it waits for a Redis that does not answer before it asks again. */
const AGAIN_MS = 1000;

export function checkRedis(app: FastifyInstance, queue: Pick<JobQueue, "ask">): void {
  const closing = new AbortController();
  app.addHook("preClose", async () => closing.abort());
  app.addHook("onListen", async () => {
    void check().catch((error) => app.log.warn({ err: error }, "Redis could not be looked at"));
  });

  async function check(): Promise<void> {
    while (!closing.signal.aborted) {
      const told = await queue
        .ask((redis) => Promise.all([faultsOf(redis), clockAhead(redis)]))
        .catch((error: Error) => (error.name === "NotReady" ? undefined : Promise.reject(error)));
      if (told !== undefined) return tell(...told);
      await sleep(AGAIN_MS, undefined, { signal: closing.signal, ref: false }).catch(() => {});
    }
  }

  function tell(faults: string[], ahead: number | null): void {
    for (const fault of faults) app.log.warn(fault);
    if (ahead === null) return;
    const way = ahead > 0 ? "ahead of" : "behind";
    app.log.warn(
      { ms: ahead },
      `this machine's clock is ${Math.abs(ahead / 1000)} s ${way} Redis', which counts: set one of them right`,
    );
  }
}
