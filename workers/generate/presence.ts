import type { Redis } from "ioredis";
import type { Logger } from "pino";
import { farewell, HEARTBEAT_MS, heartbeat } from "../../src/jobs/fleet.ts";
import type { Catalog } from "../../src/schema/catalog.ts";

/** Tells the service, again and again, that a worker is there and what it offers. */
export class Presence {
  readonly #redis: Redis;
  readonly #worker: string;
  readonly #log: Logger;
  #catalog: Catalog | undefined;
  #beating: NodeJS.Timeout | undefined;

  constructor(redis: Redis, worker: string, log: Logger) {
    this.#redis = redis;
    this.#worker = worker;
    this.#log = log;
  }

  /** From here on the worker offers this. */
  offer(newest: Catalog): void {
    const known = new Set(this.#catalog?.skipped.map(({ path }) => path));
    for (const { path, reason } of newest.skipped) if (!known.has(path)) this.#log.warn({ path, reason }, "skipped");
    const names = { models: newest.models.map(({ id }) => id), controlnets: newest.controlnets.map(({ id }) => id) };
    this.#log.info(names, "offers");
    this.#catalog = newest;
    this.#beat();
  }

  /** Resolves when it is known for the first time that the worker is there. Something must be offered already. */
  async begin(): Promise<void> {
    await heartbeat(this.#redis, this.#worker, this.#catalog!);
    this.#beating = setInterval(() => this.#beat(), HEARTBEAT_MS);
  }

  /** Tells nothing any more: what was told is forgotten after a while. */
  stop(): void {
    clearInterval(this.#beating);
  }

  /** Tells that the worker is gone. */
  async end(): Promise<void> {
    await farewell(this.#redis, this.#worker);
  }

  #beat(): void {
    if (this.#redis.status !== "ready") return;
    heartbeat(this.#redis, this.#worker, this.#catalog!).catch((error) => this.#log.warn({ err: error }, "heartbeat"));
  }
}
