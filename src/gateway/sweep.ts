/**
 * What keeps records, jobs and files in agreement whatever died between two of them, and ends what has waited or lain too
 * long. Every gateway has the sweep; one at a time does it.
 */
import type { FastifyBaseLogger, FastifyPluginAsync } from "fastify";
import type { JobKind } from "../jobs/kind.ts";
import { ALL_KINDS } from "../jobs/kinds.ts";
import { idsOlderThan } from "../jobs/list.ts";
import { readRecords } from "../jobs/record.ts";
import { ownersOf, removeOrphans, removeRecords } from "../jobs/remove.ts";
import { giveUpWaiting } from "../jobs/stop.ts";
import type { Service } from "./parts.ts";

/** How often: what was accepted without a job (its gateway died between the two) waits this long for one. */
const SWEEP_MS = 2000;
/** A record older than this without a job has none coming. */
const JOB_MS = 1000;
/** Records younger than this are looked at each time, all of them now and then: one can lose its job later only by an error. */
const YOUNG_MS = 10_000;
const ALL_MS = 30_000;
/** How many records it looks at in one go. */
const BATCH = 500;
/** How long it removes what is old before it does the rest of its work: the next sweep goes on. */
const LONGEST_MS = 5000;

const LOCK = "sweep"; // who has it sweeps
const LOCK_OF_ALL = "sweep:all";

export const sweep: FastifyPluginAsync<Service> = async (app, service) => {
  const sweeper = new Sweeper(service, app.log);
  let timer: NodeJS.Timeout | undefined;
  let sweeping: Promise<void> = Promise.resolve();
  app.addHook("onListen", async () => {
    timer = setInterval(() => {
      sweeping = sweeping.then(() => sweeper.sweep()).catch((error) => app.log.debug({ err: error }, "sweep")); // the next one comes
    }, SWEEP_MS).unref();
  });
  app.addHook("onClose", async () => {
    clearInterval(timer);
    await sweeping;
  });
};

class Sweeper {
  readonly #service: Service;
  readonly #log: FastifyBaseLogger;

  constructor(service: Service, log: FastifyBaseLogger) {
    this.#service = service;
    this.#log = log;
  }

  async sweep(): Promise<void> {
    const { queue, storage } = this.#service;
    const lock = await queue.ask((redis) => redis.set(LOCK, process.pid, "PX", SWEEP_MS - 100, "NX"));
    if (lock === null) return;
    await this.#giveUpOverdue();
    await this.#makeMissingJobs();
    for (const kind of ALL_KINDS) await this.#removeOld(kind);
    const orphans = await queue.ask((redis) => removeOrphans(redis, storage));
    if (orphans > 0) this.#log.info({ orphans }, "removed files of what is not there");
  }

  async #giveUpOverdue(): Promise<void> {
    const { config, queue } = this.#service;
    const { QUEUE_TIMEOUT } = config;
    const error = { code: "queue_timeout", message: `no worker was free for it for ${QUEUE_TIMEOUT} s` };
    for (const kind of ALL_KINDS) {
      const ids = await queue.ask((redis) => idsOlderThan(redis, kind, "queued", QUEUE_TIMEOUT * 1000));
      for (const id of ids) {
        if (await queue.ask((redis) => giveUpWaiting(redis, id, error))) {
          this.#log.warn({ [kind.name]: id }, "has waited too long");
        }
      }
    }
  }

  async #makeMissingJobs(): Promise<void> {
    const all = await this.#service.queue.ask((redis) => redis.set(LOCK_OF_ALL, process.pid, "PX", ALL_MS, "NX"));
    const lessThanMs = all === null ? YOUNG_MS : undefined;
    for (const kind of ALL_KINDS) {
      await this.#makeMissingJobsOf(kind, "queued", lessThanMs);
      await this.#makeMissingJobsOf(kind, "processing", lessThanMs);
    }
  }

  async #makeMissingJobsOf(
    kind: JobKind,
    status: "queued" | "processing",
    lessThanMs: number | undefined,
  ): Promise<void> {
    const { queue } = this.#service;
    for (let skip = 0; ; skip += BATCH) {
      const page = { lessThanMs, most: BATCH, skip };
      const ids = await queue.ask((redis) => idsOlderThan(redis, kind, status, JOB_MS, page));
      if (ids.length === 0) return;
      const jobless = await queue.withoutJob(ids);
      for (const record of await queue.ask((redis) => readRecords(redis, jobless))) {
        if (record === undefined || (record.status !== "queued" && record.status !== "processing")) continue;
        await queue.enqueue(record.id);
        this.#log.warn({ [kind.name]: record.id }, "had no job");
      }
    }
  }

  async #removeOld(kind: JobKind): Promise<void> {
    const { config, queue, storage } = this.#service;
    for (const end = performance.now() + LONGEST_MS; performance.now() < end; ) {
      const ids = await queue.ask((redis) =>
        idsOlderThan(redis, kind, "ended", config.RESULT_TTL * 1000, { most: BATCH }),
      );
      if (ids.length === 0) return;
      const owned = await queue.ask((redis) => ownersOf(redis, ids));
      await queue.ask((redis) => removeRecords(redis, storage, owned, false));
      this.#log.info({ [`${kind.name}s`]: ids.length }, "removed, RESULT_TTL after their end");
    }
  }
}
